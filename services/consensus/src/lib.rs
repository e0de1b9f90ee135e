//! Computes: many experts' answers become one opinion.
