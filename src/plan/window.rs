//! Window forms to instants.
