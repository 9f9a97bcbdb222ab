//! What is read together.
