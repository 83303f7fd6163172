package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite" // registers "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func sqliteURL(path string, extra ...string) string {
	q := append([]string{
		"_pragma=busy_timeout(10000)", "_pragma=journal_mode(WAL)", "_pragma=foreign_keys(1)",
		"_pragma=temp_store(2)", "_pragma=cache_size(-8000)", "_pragma=wal_autocheckpoint(2000)",
	}, extra...)
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(q, "&")
}

// layOut gives a new database pages of 8 KiB, which it then has for good, and
// which must be settled before anything is in it. Tables that grow at their end
// are written in half as many system calls as with SQLite's 4 KiB, while a
// quiet server's few rows still do not cost large pages.
func layOut(ctx context.Context, path string) error {
	file, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=page_size(8192)")
	if err != nil {
		return err
	}
	_, err = file.ExecContext(ctx, "PRAGMA journal_mode=WAL") // writes the first page
	return errors.Join(err, file.Close())
}

// translate turns the engines' constraint errors and outages into ours.
func translate(err error) error {
	if err == nil {
		return nil
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return errors.Join(ErrDuplicate, err)
		case sqlite3.SQLITE_CONSTRAINT_CHECK, sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, sqlite3.SQLITE_CONSTRAINT_NOTNULL, sqlite3.SQLITE_CONSTRAINT_TRIGGER:
			return errors.Join(ErrRefused, err)
		}
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "23505":
			return errors.Join(ErrDuplicate, err)
		case "23514", "23503", "23502":
			return errors.Join(ErrRefused, err)
		}
	}
	if outage(err) {
		return ErrUnavailable.Because(err)
	}
	return err
}

// outage reports whether an error is the database's state and not the
// statement's: gone, full, read-only or not to be read.
func outage(err error) bool {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false // said already, or the caller's own clock
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff { // the low byte of an extended code is its family
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY:
			return true
		}
		return false
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return true // whatever the server said instead of letting us in
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "57P01", "57P02", "57P03", "58030", "25006": // shut down, crashed, starting; I/O; a standby
			return true
		}
		return strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "53") // connection; disk, memory, connections used up
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// retryable reports whether PostgreSQL asks for the transaction to be run
// again (serialization failure, deadlock).
func retryable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}
