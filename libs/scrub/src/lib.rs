//! Masks what looks like a secret in a text before the text leaves the engine.
