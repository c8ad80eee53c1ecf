-- A server.db of version 5, as the server of that version left it: SQLite's own dump.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE arrival (id TEXT PRIMARY KEY, path TEXT NOT NULL);
INSERT INTO "arrival" VALUES('eeeeeeee-0405-0607-0809-0a0b0c0d0e0f','/srv/labs/coming');
CREATE TABLE project (
    id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, open INTEGER NOT NULL,
    made_directory INTEGER NOT NULL, given TEXT NOT NULL DEFAULT '');
INSERT INTO "project" VALUES('00010203-0405-0607-0809-0a0b0c0d0e0f','/srv/labs/lab',1,1,'/home/user/labs/../lab/');
INSERT INTO "project" VALUES('ffffffff-0405-0607-0809-0a0b0c0d0e0f','/home/user/old lab',0,0,'/home/user/old lab');
CREATE TABLE stored_value (
    owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL, plugin TEXT NOT NULL,
    key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner_kind, owner_id, plugin, key));
INSERT INTO "stored_value" VALUES('server','','toy','seen','[1, 2]');
CREATE TABLE run (
    id TEXT PRIMARY KEY, owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL,
    spec TEXT NOT NULL, processes TEXT NOT NULL);
COMMIT;
PRAGMA user_version = 5;
