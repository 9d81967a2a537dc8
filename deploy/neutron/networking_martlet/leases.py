"""Who does what when several servers run: leases by the database's clock.

A lease is taken with a generation that only grows, and all that its holder sends carries it. So even a holder that was
stopped for a minute and then goes on cannot undo anything: what it sends is older than what its successor sent.
"""

import threading
import time

from neutron_lib.db import api as db_api
import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

from networking_martlet import models

# Bits of a revision below the generation: what one holder can send before it takes a new generation.
COUNTER_BITS = 24


class now(functions.FunctionElement):
    """Seconds since 1970 by the database's clock."""
    type = sa.Float(53)
    name = 'martlet_now'
    inherit_cache = True


@compiler.compiles(now)
def _now_in_mysql(element, compile_, **_):
    return 'CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)'


@compiler.compiles(now, 'sqlite')
def _now_in_sqlite(element, compile_, **_):
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiler.compiles(now, 'postgresql')
def _now_in_postgresql(element, compile_, **_):
    return 'CAST(EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) AS DOUBLE PRECISION)'


def database_time(session):
    return session.execute(sa.select(now())).scalar()


class Lease:
    """A lease as its holder has it; `is_valid` asks nobody, and errs on the safe side."""

    def __init__(self, name, owner, seconds, clock=time.monotonic):
        self.name = name
        self._owner = owner
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._generation = 0
        self._counter = 0
        self._valid_until = 0

    @property
    def is_valid(self):
        return self._clock() < self._valid_until

    @property
    def needs_renewal(self):
        return self._clock() > self._valid_until - self._seconds * 2 / 3

    @db_api.retry_if_session_inactive()
    def acquire(self, context):
        """Takes or renews it. False if another server has it."""
        started = self._clock()
        with db_api.CONTEXT_WRITER.using(context):
            row = context.session.get(models.Lease, self.name, with_for_update=True)
            if row is None:
                row = models.Lease(name=self.name, owner='', generation=0, expires_at=0)
                context.session.add(row)
            seconds = database_time(context.session)
            if row.owner != self._owner or row.generation != self._generation:
                if row.owner not in ('', self._owner) and not self._has_expired(row, seconds):
                    self._valid_until = 0
                    return False
                self._take(row, seconds)
            row.expires_at = seconds + self._seconds
        self._valid_until = started + self._seconds
        return True

    def _has_expired(self, row, seconds):
        # One that ends in a far future was given before the clock was set back, and would never end.
        return row.expires_at <= seconds or row.expires_at > seconds + 2 * self._seconds

    def _take(self, row, seconds):
        # Minutes since 1970 at least: a database that was set up anew, or restored, outranks what hosts hold of before.
        row.owner, row.generation = self._owner, max(row.generation + 1, int(seconds // 60))
        with self._lock:
            self._generation, self._counter = row.generation, 0

    @db_api.retry_if_session_inactive()
    def release(self, context):
        """Gives it back, so that nobody has to wait for its end."""
        self._valid_until = 0
        with db_api.CONTEXT_WRITER.using(context):
            context.session.query(models.Lease).filter_by(
                name=self.name, owner=self._owner, generation=self._generation).update(
                {'owner': '', 'expires_at': 0}, synchronize_session=False)

    def revision(self):
        """The next revision, above all that were ever given under this name."""
        with self._lock:
            self._counter += 1
            if self._counter >> COUNTER_BITS:
                self._valid_until = self._generation = 0
                raise OverflowError(f"lease '{self.name}' has given {self._counter} revisions: it is taken anew")
            return self._generation << COUNTER_BITS | self._counter
