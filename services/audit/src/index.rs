//! What is searched: the leaves' fields in SQLite or PostgreSQL.
//!
//! Made from the log and never the other way round: it may be deleted at any time and is made again. It holds no leaf;
//! what a search shows is read from the log.

use std::{path::Path, str::FromStr};

use chassis::Secret;
use model::audit::{AuditCount, AuditEntry, AuditOutcome, AuditReportRequest, AuditSearch};
use sqlx::{
    AssertSqlSafe, PgPool, QueryBuilder, Row, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{Error, heart::detect::ALERT};

/// The schema's versions, in order; the same statements for both databases.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001_entries.sql")];
/// Connections at once.
const CONNECTIONS: u32 = 4;
/// Actors in a report.
const ACTORS: i64 = 50;
/// Alerts in a report.
const ALERTS: i64 = 100;
/// Rows of one statement: SQLite takes 32766 values.
const ROWS: usize = 2000;

/// The searchable fields of a log.
#[derive(Clone, Debug)]
pub struct Index {
    pool: Pool,
}

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What a report counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// How many leaves.
    pub total: u64,
    /// By action and outcome.
    pub actions: Vec<AuditCount>,
    /// By actor.
    pub actors: Vec<AuditCount>,
    /// Where the rules' leaves stand, newest first.
    pub alerts: Vec<u64>,
}

/// The same code for both databases: `$pool` is the one or the other.
macro_rules! with_pool {
    ($index:expr, $pool:ident => $body:expr) => {
        match &$index.pool {
            Pool::Sqlite($pool) => $body,
            Pool::Postgres($pool) => $body,
        }
    };
}

/// A value of a condition.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Number(i64),
}

macro_rules! bound {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text.clone()),
                Value::Number(number) => query.bind(*number),
            };
        }
        query
    }};
}

fn failed(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database { what, source }
}

impl Index {
    /// Opens the database, makes it when it is not there, and empties it when it is another log's.
    pub async fn open(database: &Secret, folder: &Path, origin: &str) -> Result<Index, Error> {
        let pool = if database.is_empty() {
            Pool::Sqlite(sqlite(&folder.join("index.db")).await?)
        } else {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(database.reveal()).await;
            Pool::Postgres(pool.map_err(failed("connecting to the database of the index"))?)
        };
        let index = Index { pool };
        index.migrate().await?;
        match index.fact("origin").await? {
            Some(known) if known == origin => {}
            Some(_) => {
                index.clear().await?;
                index.set_fact("origin", origin).await?;
            }
            None => index.set_fact("origin", origin).await?,
        }
        Ok(index)
    }

    async fn migrate(&self) -> Result<(), Error> {
        let failed = failed("making the tables of the index");
        with_pool!(self, pool => {
            let mut tx = pool.begin().await.map_err(&failed)?;
            sqlx::query("CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)")
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM migrations")
                .fetch_one(&mut *tx)
                .await
                .map_err(&failed)?;
            let version: i64 = row.get(0);
            for (number, sql) in (1i64..).zip(MIGRATIONS).filter(|(number, _)| *number > version) {
                sqlx::raw_sql(sql).execute(&mut *tx).await.map_err(&failed)?;
                sqlx::query("INSERT INTO migrations (version) VALUES ($1)")
                    .bind(number)
                    .execute(&mut *tx)
                    .await
                    .map_err(&failed)?;
            }
            tx.commit().await.map_err(&failed)
        })
    }

    async fn fact(&self, name: &str) -> Result<Option<String>, Error> {
        with_pool!(self, pool => {
            let row = sqlx::query("SELECT value FROM facts WHERE name = $1").bind(name.to_owned()).fetch_optional(pool).await;
            Ok(row.map_err(failed("reading the index"))?.map(|row| row.get(0)))
        })
    }

    async fn set_fact(&self, name: &str, value: &str) -> Result<(), Error> {
        with_pool!(self, pool => {
            sqlx::query("INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
                .bind(name.to_owned())
                .bind(value.to_owned())
                .execute(pool)
                .await
                .map_err(failed("writing the index"))?;
            Ok(())
        })
    }

    /// Forgets everything; the log is read again from its beginning.
    pub async fn clear(&self) -> Result<(), Error> {
        with_pool!(self, pool => {
            let failed = failed("emptying the index");
            let mut tx = pool.begin().await.map_err(&failed)?;
            sqlx::query("DELETE FROM entries").execute(&mut *tx).await.map_err(&failed)?;
            sqlx::query("DELETE FROM facts").execute(&mut *tx).await.map_err(&failed)?;
            tx.commit().await.map_err(&failed)
        })
    }

    /// How many leaves it knows: all below this.
    pub async fn size(&self) -> Result<u64, Error> {
        let size = self.fact("size").await?;
        Ok(size.and_then(|size| size.parse().ok()).unwrap_or(0))
    }

    /// Takes in the leaves that follow; all or none. Leaves that it knows are not taken twice.
    pub async fn add(&self, entries: &[AuditEntry]) -> Result<(), Error> {
        let Some(last) = entries.last() else { return Ok(()) };
        let size = (last.index + 1).to_string();
        with_pool!(self, pool => {
            let failed = failed("writing the index");
            let mut tx = pool.begin().await.map_err(&failed)?;
            for rows in entries.chunks(ROWS) {
                let mut insert = QueryBuilder::new(
                    "INSERT INTO entries (idx, at, source, counter, part, parts, actor, action, subject, outcome, reason, cause) ",
                );
                insert.push_values(rows, |mut row, entry| {
                    let record = &entry.record;
                    row.push_bind(number(entry.index))
                        .push_bind(record.at.0)
                        .push_bind(plain(&record.source))
                        .push_bind(number(record.counter))
                        .push_bind(i64::from(record.part))
                        .push_bind(i64::from(record.parts))
                        .push_bind(plain(&record.actor))
                        .push_bind(plain(&record.action))
                        .push_bind(plain(&record.subject))
                        .push_bind(record.outcome.as_str())
                        .push_bind(record.reason.as_deref().map(plain))
                        .push_bind(record.cause.as_deref().map(plain));
                });
                insert.push(" ON CONFLICT (idx) DO NOTHING");
                // Not kept prepared: statements of every number of rows would be, each a megabyte.
                insert.build().persistent(false).execute(&mut *tx).await.map_err(&failed)?;
            }
            sqlx::query("INSERT INTO facts (name, value) VALUES ('size', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
                .bind(size)
                .execute(&mut *tx)
                .await
                .map_err(&failed)?;
            tx.commit().await.map_err(&failed)
        })
    }

    /// Where the first leaf of a count stands.
    pub async fn of_count(&self, source: &str, counter: u64) -> Result<Option<u64>, Error> {
        let sql = "SELECT idx FROM entries WHERE source = $1 AND counter = $2 ORDER BY part LIMIT 1";
        let rows = self
            .indices(sql.to_owned(), &[Value::Text(source.to_owned()), Value::Number(number(counter))])
            .await?;
        Ok(rows.first().copied())
    }

    /// Where the first leaf of a family of sources with this cause stands, and how many belong together.
    pub async fn of_cause(&self, family: &str, cause: &str) -> Result<Option<(u64, u32)>, Error> {
        let shards = format!("{}!_%", escaped(family));
        with_pool!(self, pool => {
            let row = sqlx::query("SELECT idx, parts FROM entries WHERE cause = $1 AND part = 1 AND (source = $2 OR source LIKE $3 ESCAPE '!') ORDER BY idx LIMIT 1")
                .bind(cause.to_owned())
                .bind(family.to_owned())
                .bind(shards.clone())
                .fetch_optional(pool)
                .await
                .map_err(failed("searching the index"))?;
            Ok(row.map(|row| (row.get::<i64, _>(0).unsigned_abs(), u32::try_from(row.get::<i64, _>(1)).unwrap_or(1))))
        })
    }

    /// Where what fits stands, newest first.
    pub async fn search(&self, search: &AuditSearch, limit: u32) -> Result<Vec<u64>, Error> {
        let mut filter = Filter::default();
        filter.equals("actor", search.actor.as_deref());
        filter.equals("subject", search.subject.as_deref());
        filter.equals("outcome", search.outcome.map(AuditOutcome::as_str));
        if let Some(action) = &search.action {
            match action.strip_suffix('*') {
                Some(start) => filter.like("action", &format!("{}%", escaped(start))),
                None => filter.equals("action", Some(action)),
            }
        }
        if let Some(text) = &search.text {
            filter.like("reason", &format!("%{}%", escaped(text)));
        }
        filter.compares("at >=", search.since.map(|at| at.0));
        filter.compares("at <", search.until.map(|at| at.0));
        filter.compares("idx <", search.before.map(number));
        let limit = filter.place(Value::Number(i64::from(limit)));
        let sql = format!("SELECT idx FROM entries{} ORDER BY idx DESC LIMIT {limit}", filter.sql());
        self.indices(sql, &filter.values).await
    }

    /// Counts what happened in a time.
    pub async fn report(&self, request: &AuditReportRequest) -> Result<Counted, Error> {
        let mut filter = Filter::default();
        filter.compares("at >=", request.since.map(|at| at.0));
        filter.compares("at <", request.until.map(|at| at.0));
        let sql = format!(
            "SELECT action, outcome, COUNT(*) FROM entries{} GROUP BY action, outcome ORDER BY 3 DESC, 1, 2",
            filter.sql()
        );
        let actions: Vec<AuditCount> = with_pool!(self, pool => {
            let rows = bound!(sql, &filter.values).fetch_all(pool).await.map_err(failed("counting in the index"))?;
            rows.iter().map(|row| counted(row.get(0), Some(row.get(1)), row.get(2))).collect()
        });
        let mut top = filter.clone();
        let limit = top.place(Value::Number(ACTORS));
        let sql = format!(
            "SELECT actor, COUNT(*) FROM entries{} GROUP BY actor ORDER BY 2 DESC, 1 LIMIT {limit}",
            top.sql()
        );
        let actors: Vec<AuditCount> = with_pool!(self, pool => {
            let rows = bound!(sql, &top.values).fetch_all(pool).await.map_err(failed("counting in the index"))?;
            rows.iter().map(|row| counted(row.get(0), None, row.get(1))).collect()
        });
        filter.like("action", &format!("{}%", escaped(ALERT)));
        let limit = filter.place(Value::Number(ALERTS));
        let sql = format!("SELECT idx FROM entries{} ORDER BY idx DESC LIMIT {limit}", filter.sql());
        let alerts = self.indices(sql, &filter.values).await?;
        Ok(Counted { total: actions.iter().map(|action| action.count).sum(), actions, actors, alerts })
    }

    async fn indices(&self, sql: String, values: &[Value]) -> Result<Vec<u64>, Error> {
        with_pool!(self, pool => {
            let rows = bound!(sql, values).fetch_all(pool).await.map_err(failed("searching the index"))?;
            Ok(rows.iter().map(|row| row.get::<i64, _>(0).unsigned_abs()).collect())
        })
    }
}

async fn sqlite(path: &Path) -> Result<SqlitePool, Error> {
    let options = SqliteConnectOptions::from_str("sqlite:")
        .map_err(failed("opening the index"))?
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What a crash loses is made again from the log.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(std::time::Duration::from_secs(10));
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
    pool.map_err(failed("opening the index"))
}

#[derive(Clone, Debug, Default)]
struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    fn place(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn equals(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            let place = self.place(Value::Text(value.to_owned()));
            self.conditions.push(format!("{column} = {place}"));
        }
    }

    fn like(&mut self, column: &str, pattern: &str) {
        let place = self.place(Value::Text(pattern.to_owned()));
        self.conditions.push(format!("{column} LIKE {place} ESCAPE '!'"));
    }

    fn compares(&mut self, what: &str, value: Option<i64>) {
        if let Some(value) = value {
            let place = self.place(Value::Number(value));
            self.conditions.push(format!("{what} {place}"));
        }
    }

    fn sql(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.conditions.join(" AND "))
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// PostgreSQL takes no zero byte in a text.
fn plain(text: &str) -> String {
    text.replace('\0', " ")
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn counted(name: String, outcome: Option<String>, count: i64) -> AuditCount {
    let all = [AuditOutcome::Done, AuditOutcome::Denied, AuditOutcome::Failed];
    let outcome = outcome.and_then(|text| all.into_iter().find(|outcome| outcome.as_str() == text));
    AuditCount { name, outcome, count: count.unsigned_abs() }
}

#[cfg(test)]
mod tests;
