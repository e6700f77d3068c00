//! SQLite, with a write-ahead log that is flushed by every transaction: `synchronous=FULL`.
//!
//! One connection holds the database for itself, so that nothing is shared with other processes, and all threads take turns
//! at it. A transaction that is only buffered is one of `synchronous=NORMAL`.

use super::{Buffers, NO_TERMS, ONE_IN_FLIGHT, Purges, TERM, bounds};
use crate::log::{Durability, Log, Page, Setup};
use crate::payload::Payload;
use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS entries (
        grp INTEGER NOT NULL, idx INTEGER NOT NULL, term INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (grp, idx)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS syncs (id INTEGER PRIMARY KEY, number INTEGER NOT NULL);
    INSERT OR IGNORE INTO syncs VALUES (0, 0);";
const CACHE_KIB: i64 = 256 << 10;

struct Sqlite {
    held: Mutex<Held>,
    purges: Purges,
}

struct Held {
    connection: Connection,
    /// What the connection is set to.
    durability: Durability,
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let connection = Connection::open(setup.directory.join("sqlite"))?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.execute_batch(SCHEMA)?;
    let held = Held { connection, durability: Durability::Durable };
    Ok(Box::new(Sqlite { held: Mutex::new(held), purges: Purges::default() }))
}

impl Sqlite {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, durability: Durability, change: impl FnOnce(&Transaction<'_>) -> Result<()>) -> Result<()> {
        let mut held = self.held();
        if held.durability != durability {
            let synchronous = if durability == Durability::Durable { "FULL" } else { "NORMAL" };
            held.connection.pragma_update(None, "synchronous", synchronous)?;
            held.durability = durability;
        }
        let transaction = held.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change(&transaction)?;
        Ok(transaction.commit()?)
    }
}

fn insert<'a>(transaction: &Transaction<'_>, mut entries: impl Iterator<Item = (u64, u64, &'a [u8])>) -> Result<()> {
    let mut statement = transaction.prepare_cached("INSERT INTO entries VALUES (?1, ?2, ?3, ?4)")?;
    entries.try_for_each(|(group, index, data)| {
        statement.execute(params![group as i64, index as i64, TERM as i64, data])?;
        Ok(())
    })
}

impl Log for Sqlite {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        self.change(durability, |transaction| {
            insert(transaction, (first..).zip(entries).map(|(index, data)| (group, index, *data)))
        })
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        self.change(Durability::Durable, |transaction| {
            insert(transaction, (0..groups).map(|group| (group, index, payload.entry(group, index))))
        })
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    /// A transaction flushes what those before it have written to the same file.
    fn sync(&self) -> Result<()> {
        self.change(Durability::Durable, |transaction| {
            transaction.execute("UPDATE syncs SET number = number + 1", [])?;
            Ok(())
        })
    }

    fn truncate(&self, from: u64) -> Result<()> {
        self.change(Durability::Durable, |transaction| {
            transaction.execute("DELETE FROM entries WHERE grp = 0 AND idx >= ?1", [from as i64])?;
            Ok(())
        })
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        self.purges.count();
        self.change(Durability::Durable, |transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM entries WHERE grp = ?1 AND idx <= ?2")?;
            (0..groups).try_for_each(|group| {
                statement.execute([group as i64, upto as i64])?;
                Ok(())
            })
        })
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let held = self.held();
        let mut statement = held
            .connection
            .prepare_cached("SELECT data FROM entries WHERE grp = ?1 AND idx >= ?2 AND idx < ?3 ORDER BY idx")?;
        let rows = statement.query_map([group as i64, range.start as i64, range.end as i64], |row| row.get(0))?;
        Ok(Box::new(Buffers::<Vec<u8>> { buffers: rows.collect::<Result<_, _>>()?, head_bytes: 0 }))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let held = self.held();
        let mut statement = held.connection.prepare_cached("SELECT data FROM entries WHERE grp = ?1 AND idx = ?2")?;
        Ok(statement.query_row([group as i64, index as i64], |row| row.get(0))?)
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        let held = self.held();
        let end = |order: &str| {
            let query = format!("SELECT idx FROM entries WHERE grp = ?1 ORDER BY idx {order} LIMIT 1");
            let index = held.connection.query_row(&query, [group as i64], |row| row.get::<_, i64>(0));
            index.optional()
        };
        Ok(bounds(end("ASC")?.zip(end("DESC")?).map(|(first, last)| (first as u64, last as u64))))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        let held = self.held.into_inner().unwrap_or_else(PoisonError::into_inner);
        held.connection.close().map_err(|(_, error)| error.into())
    }
}
