// Combines shares (base64, one a line on standard input) with the npm package `shamir-secret-sharing`.
import { readFileSync } from "node:fs";
import { combine } from "shamir-secret-sharing";

const lines = readFileSync(0, "utf8").split("\n").filter((line) => line !== "");
const shares = lines.map((line) => new Uint8Array(Buffer.from(line, "base64")));
process.stdout.write(Buffer.from(await combine(shares)).toString("base64"));
