-- A project.db of version 6, as the server of that version left it: SQLite's own dump.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE allocated_port (number INTEGER PRIMARY KEY);
INSERT INTO "allocated_port" VALUES(10002);
CREATE TABLE capture (
    link_id TEXT PRIMARY KEY, file TEXT NOT NULL, snapshot_length INTEGER NOT NULL,
    max_bytes INTEGER NOT NULL);
INSERT INTO "capture" VALUES('5b1f2c7e-6c1d-4d0e-9b6a-0d9a4b1c7e21','uplink.pcap',96,1048576);
CREATE TABLE event (seq INTEGER PRIMARY KEY, line TEXT NOT NULL);
INSERT INTO "event" VALUES(41,'{"action": "vm.created", "event": {"name": "Zürich"}}
');
INSERT INTO "event" VALUES(42,'{"action": "log.error", "event": {"message": "a\nb"}}
');
CREATE TABLE layout (
    node_id TEXT PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
    x REAL NOT NULL, y REAL NOT NULL, z REAL NOT NULL, symbol TEXT NOT NULL, label TEXT NOT NULL);
INSERT INTO "layout" VALUES('b481a455-5e82-4f46-92ba-b0c1d4f9ae01',-260.5,10.0,1.0,'router','{"text": "R1"}');
CREATE TABLE link (
    id TEXT PRIMARY KEY, wanted TEXT NOT NULL, path TEXT NOT NULL, suspended INTEGER NOT NULL,
    filters TEXT NOT NULL, seed INTEGER NOT NULL);
INSERT INTO "link" VALUES('5b1f2c7e-6c1d-4d0e-9b6a-0d9a4b1c7e21','auto','relayed',1,'{"delay": {"latency": 10}}',7);
CREATE TABLE link_end (
    link_id TEXT NOT NULL REFERENCES link (id) ON DELETE CASCADE, number INTEGER NOT NULL,
    node_id TEXT NOT NULL REFERENCES node (id),
    adapter INTEGER NOT NULL, port INTEGER NOT NULL, local INTEGER NOT NULL, relay INTEGER,
    PRIMARY KEY (link_id, number), UNIQUE (node_id, adapter, port));
INSERT INTO "link_end" VALUES('5b1f2c7e-6c1d-4d0e-9b6a-0d9a4b1c7e21',0,'b481a455-5e82-4f46-92ba-b0c1d4f9ae01',0,0,10003,20000);
INSERT INTO "link_end" VALUES('5b1f2c7e-6c1d-4d0e-9b6a-0d9a4b1c7e21',1,'7a3a4c12-0d2f-4d7e-8f6b-52c7d0a1be02',0,1,10004,19999);
CREATE TABLE nio (
    node_id TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
    adapter INTEGER NOT NULL, port INTEGER NOT NULL,
    type TEXT NOT NULL, fields TEXT NOT NULL, PRIMARY KEY (node_id, adapter, port));
INSERT INTO "nio" VALUES('b481a455-5e82-4f46-92ba-b0c1d4f9ae01',1,1,'nio_udp','{"lport": 10000, "rhost": "127.0.0.1", "rport": 10001}');
CREATE TABLE node (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, name TEXT NOT NULL,
    console INTEGER, number INTEGER, properties TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'stopped', fresh INTEGER NOT NULL DEFAULT 0);
INSERT INTO "node" VALUES('b481a455-5e82-4f46-92ba-b0c1d4f9ae01','toy','PC1',4512,0,'{"note": "a \u2192 b"}','stopped',0);
INSERT INTO "node" VALUES('7a3a4c12-0d2f-4d7e-8f6b-52c7d0a1be02','toy','PC2',4513,NULL,'{}','stopped',0);
CREATE TABLE project (id TEXT PRIMARY KEY, name TEXT, temporary INTEGER NOT NULL);
INSERT INTO "project" VALUES('00010203-0405-0607-0809-0a0b0c0d0e0f','lab',0);
CREATE TABLE removed_node (id TEXT PRIMARY KEY, type TEXT NOT NULL);
INSERT INTO "removed_node" VALUES('3c1e7a55-9d0b-4a6e-8c77-1f2e3d4c5b03','toy');
CREATE TABLE restoration (
    room TEXT PRIMARY KEY, snapshot_id TEXT NOT NULL, committed INTEGER NOT NULL);
INSERT INTO "restoration" VALUES('.gns3_restoring-9f1d3c2b4a59687786a5b4c3d2e1f005','3c1e7a55-9d0b-4a6e-8c77-1f2e3d4c5b06',1);
CREATE TABLE "run" (
    id TEXT PRIMARY KEY, owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL,
    spec TEXT NOT NULL, processes TEXT NOT NULL);
INSERT INTO "run" VALUES('9f1d3c2b4a59687786a5b4c3d2e1f003','node','b481a455-5e82-4f46-92ba-b0c1d4f9ae01','{"argv": ["/usr/bin/toy", "4512"], "cwd": "/srv/labs/lab/project-files/toy/b481a455-5e82-4f46-92ba-b0c1d4f9ae01", "env": {}, "files": {}, "ports": [["tcp", 4512]], "may_bind": [], "ready_limit": 30.0, "stop_signal": 15, "stop_limit": 3.0, "timer_slack_ns": null, "children": 0, "log_name": "node.log", "log_limit": 1048576}','[{"pid": 4321, "start_time": 987654, "boot_id": "0c0ffee0-1111-4222-8333-444455556666"}]');
INSERT INTO "run" VALUES('9f1d3c2b4a59687786a5b4c3d2e1f004','node','7a3a4c12-0d2f-4d7e-8f6b-52c7d0a1be02','{"argv": ["/usr/bin/toy"], "cwd": "/srv/labs/lab"}','[]');
CREATE TABLE snapshot (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, state TEXT NOT NULL,
    size INTEGER NOT NULL, running TEXT NOT NULL);
INSERT INTO "snapshot" VALUES('3c1e7a55-9d0b-4a6e-8c77-1f2e3d4c5b06','before',1700000000.5,'whole',12,'["b481a455-5e82-4f46-92ba-b0c1d4f9ae01"]');
CREATE TABLE staged_file (
    node_id TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
    name TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (node_id, name));
INSERT INTO "staged_file" VALUES('7a3a4c12-0d2f-4d7e-8f6b-52c7d0a1be02','startup',X'6563686F2068690A');
CREATE TABLE stored_value (
    owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL, plugin TEXT NOT NULL,
    key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner_kind, owner_id, plugin, key));
INSERT INTO "stored_value" VALUES('node','b481a455-5e82-4f46-92ba-b0c1d4f9ae01','toy','place','{"x": 1}');
COMMIT;
PRAGMA user_version = 6;
