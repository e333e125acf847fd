"""The attempts at the attacks of clonedb/generation/declared_attacks.py, by their names.

An attempt returns whether the attacker got what they were after. It catches nothing but the
refusals that it expects, so that a mistake of its own is no defence.
"""
