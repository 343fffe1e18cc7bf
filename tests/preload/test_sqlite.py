"""sqlite3 under the preload: a large script of tables, indexes, joins and vacuum; answers and database file equal."""

import preload

SCRIPT = '''
PRAGMA journal_mode = WAL;
PRAGMA cache_size = -1000;
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, bio TEXT);
CREATE TABLE payment (id INTEGER PRIMARY KEY, person INTEGER REFERENCES person, cents INTEGER, note BLOB);
BEGIN;
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO person SELECT i, printf('name %x', i * 2654435761 % 4294967296), i * 37 % 90, substr(hex(zeroblob(200)), 1, i % 400) FROM n;
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO payment SELECT i, 1 + i * 7919 % 20000, i * 104729 % 100000, zeroblob(i % 300) FROM n;
COMMIT;
CREATE INDEX person_name ON person (name);
CREATE INDEX payment_person ON payment (person, cents);
ANALYZE;
SELECT age, count(*), sum(cents), max(length(bio)), group_concat(DISTINCT person.id % 7)
  FROM person JOIN payment ON payment.person = person.id GROUP BY age ORDER BY sum(cents) DESC, age;
SELECT name, total, rank() OVER (ORDER BY total DESC, name) FROM
  (SELECT name, sum(cents) AS total FROM person JOIN payment ON person = person.id GROUP BY name) LIMIT 500;
SELECT a.name, b.name FROM person a JOIN person b ON b.id = (a.id * 31) % 20000 WHERE a.age = 17 AND b.age > 60 ORDER BY 1, 2;
SELECT json_group_array(json_object('id', id, 'name', name, 'age', age)) FROM (SELECT * FROM person WHERE id % 97 = 0 ORDER BY id);
UPDATE person SET bio = bio || bio || name WHERE id % 3 = 0;
DELETE FROM payment WHERE cents % 5 = 0;
CREATE TABLE copy AS SELECT upper(name) AS name, replace(bio, '0', 'xy') AS bio FROM person ORDER BY age, id;
DROP INDEX person_name;
SAVEPOINT undone; DELETE FROM copy; ROLLBACK TO undone; RELEASE undone;
VACUUM;
PRAGMA integrity_check;
SELECT count(*), sum(length(bio)) FROM copy;
SELECT count(*) FROM payment;
SELECT missing FROM person;
PRAGMA journal_mode = DELETE;
.dump copy
'''


class Sqlite(preload.PreloadTest):
    needs = ('sqlite3',)

    def test_is_loaded(self):
        self.prove(lambda session: session.run('sqlite3', ':memory:', 'SELECT 1;'), 'sqlite3')

    def test_script(self):
        def scenario(session):
            # The script contains one error, so that this path is taken too.
            session.run('sqlite3', '-batch', 'test.db', input=SCRIPT.encode(), status=1)
            session.note('database file', session.read('test.db'))
        self.compare(scenario)

    def test_in_memory(self):
        def scenario(session):
            session.run('sqlite3', '-batch', ':memory:', input=SCRIPT.encode(), status=1)
        self.compare(scenario)


if __name__ == '__main__':
    preload.main()
