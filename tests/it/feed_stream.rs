//! A feed's stream, end to end.
