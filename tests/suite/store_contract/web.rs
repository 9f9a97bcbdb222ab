//! Files of a web server.
