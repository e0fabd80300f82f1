// Starts the Cosmos DB emulator on a free port of 127.0.0.1, under the certificate of the test run,
// with two of its handlers replaced: its batches do not undo what they did before a failure, nor
// know their partition, and reading an item that is missing crashes it.
const { readFileSync } = require("fs");

const lib = "@vercel/cosmosdb-server/lib";
const operations = require(`${lib}/handler/_document-operations`);
const readJson = require(`${lib}/json`).default;
const partitionOf = require(`${lib}/utils/get-partition-from-header`).default;

const OPERATIONS = {
  Create: operations.createOperation,
  Delete: operations.deleteOperation,
  Read: operations.readOperation,
  Replace: operations.replaceOperation,
  Upsert: operations.upsertOperation,
};
const MAX_BATCH_BYTES = 2 * 1024 * 1024;
const FAILED_DEPENDENCY = 424;
const MULTI_STATUS = 207;

require(`${lib}/handler/read-document`).default = (account, req, res, { dbId, collId, docId }) => {
  const collection = account.database(dbId).collection(collId);
  const result = operations.readOperation(collection, { partitionKey: partitionOf(req), id: docId });
  res.statusCode = result.statusCode;
  return result.body;
};

// https://learn.microsoft.com/azure/cosmos-db/transactional-batch
require(`${lib}/handler/batch-documents`).default = async (account, req, res, { dbId, collId }) => {
  const body = await readJson(req);
  if (Number(req.headers["content-length"]) > MAX_BATCH_BYTES) {
    res.statusCode = 413;
    return { code: "RequestEntityTooLarge", message: "Request size is too large" };
  }
  const { documents } = account.database(dbId).collection(collId);
  const before = [new Map(documents._data), new Map(documents._index)];
  const partitionKey = partitionOf(req);
  const results = [];
  for (const input of body) {
    const collection = account.database(dbId).collection(collId);
    const result = OPERATIONS[input.operationType](collection, { ...input, partitionKey });
    results.push({ statusCode: result.statusCode, requestCharge: 1, resourceBody: result.body });
    if (result.statusCode >= 400) {
      [documents._data, documents._index] = before;
      res.statusCode = MULTI_STATUS;
      return body.map((_, i) => ({
        statusCode: i === results.length - 1 ? result.statusCode : FAILED_DEPENDENCY,
        requestCharge: 0,
      }));
    }
  }
  return results;
};

const { createHttpsServer } = require("@vercel/cosmosdb-server");

const [certificate, key] = process.argv.slice(2);
const server = createHttpsServer({
  cert: readFileSync(certificate),
  key: readFileSync(key),
  minVersion: "TLSv1.2",
  keepAlive: true,
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
  console.log(`listening at https://127.0.0.1:${server.address().port}`);
});
