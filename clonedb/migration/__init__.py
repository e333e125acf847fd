"""The backend behind `clonedb.migrate`: yoyo's, hardened."""
