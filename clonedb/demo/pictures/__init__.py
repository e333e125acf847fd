"""The parts of a picture: conversations, knowledge, and what keeps them safe."""
