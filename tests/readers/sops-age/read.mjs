// Opens a sops file from standard input with the npm package `sops-age` and prints its values as JSON.
import { readFileSync } from "node:fs";
import { decryptSops } from "sops-age";

const fileType = process.argv[2];
const secretKey = process.env.SOPS_AGE_KEY;
const values = await decryptSops(readFileSync(0, "utf8"), { secretKey, fileType });
process.stdout.write(JSON.stringify(values));
