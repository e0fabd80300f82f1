BEGIN TRANSACTION;
CREATE TABLE fields (
    partition TEXT NOT NULL,
    kind TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (partition, kind, field, value, id)
) WITHOUT ROWID;
INSERT INTO "fields" VALUES('ten_a/2026-11','document','owner','ada','doc_3');
INSERT INTO "fields" VALUES('ten_a/2026-11','document','state','new','doc_3');
INSERT INTO "fields" VALUES('ten_a/2026-11','document','state','sealed','doc_1');
CREATE TABLE records (
    partition TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    etag TEXT NOT NULL,
    body BLOB NOT NULL,
    fields TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (partition, kind, id)
);
INSERT INTO "records" VALUES('ten_a/2026-11','document','doc_3','645e3024d52b460697f1ee5ddcb87f8b',X'7B226E756D626572223A337D','{"state": "new", "owner": "ada"}',NULL);
INSERT INTO "records" VALUES('ten_a/2026-11','document','doc_1','25666e97c5c944e9b22810004f67a553',X'7B226E756D626572223A31307D','{"state": "sealed"}',NULL);
INSERT INTO "records" VALUES('ten_b/main','document','doc_1','d312bcc8a5d348de8e41f170a1a9a71b',X'7B226E616D65223A225A6FC3AB222C2264656570223A5B7B7D5D7D','{}',NULL);
INSERT INTO "records" VALUES('ten_a/2026-11','document','doc_4','09ac3c8fc0b642e6813979e6f02ca960',X'7B226E756D626572223A347D','{}',1767229200000000);
INSERT INTO "records" VALUES('ten_a/2026-11','upload','upl_1','adf0b443da2e4656a4b1fca789247bc1',X'7B7D','{}',NULL);
CREATE INDEX records_that_expire ON records (expires_at)
    WHERE expires_at IS NOT NULL;
PRAGMA user_version=2;
COMMIT;
