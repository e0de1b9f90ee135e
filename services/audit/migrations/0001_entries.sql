CREATE TABLE entries (
    idx BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    source TEXT NOT NULL,
    counter BIGINT NOT NULL,
    part BIGINT NOT NULL,
    parts BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    cause TEXT
);
CREATE INDEX entries_by_count ON entries (source, counter);
CREATE INDEX entries_by_cause ON entries (cause);
CREATE INDEX entries_by_subject ON entries (subject, idx);
CREATE INDEX entries_by_actor ON entries (actor, idx);
CREATE INDEX entries_by_action ON entries (action, idx);
CREATE INDEX entries_by_time ON entries (at);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
