-- SPDX-License-Identifier: LGPL-2.1-or-later
-- From version 6 of the database to version 7. Types and units as in schema.sql.

-- event.outbox is a set of bits now: 1, still to be written to the logs; 2, still to be given to the program of
-- alerts.exec.
DROP INDEX event_outbox;
CREATE INDEX event_outbox ON event (seq) WHERE outbox > 0;
