//! Turns the experts' answers on a question into one opinion.
