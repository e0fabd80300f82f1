// Starts the Cosmos DB emulator on a free port of 127.0.0.1, under the certificate of the test run.
const { readFileSync } = require("fs");
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
