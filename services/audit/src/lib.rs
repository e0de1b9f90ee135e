//! Remembers: keeps every fact of the engine in a log that cannot be rewritten unnoticed.
