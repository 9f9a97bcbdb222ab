//! How the window is cut.
