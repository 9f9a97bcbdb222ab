//! `doctor`: each check in each of its states.
