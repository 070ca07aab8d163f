/** Uploads one pack in a process of its own, with the operator's bounds on the heap, and says by how much its memory grew. */
import { readFileSync } from "node:fs";
import { createS3Client } from "../../src/evidence/s3client.ts";
import { readS3Credentials } from "../../src/evidence/s3files.ts";
import { uploadPack } from "../../src/evidence/uploadpack.ts";
import { systemClock, systemRandom } from "../../src/seams.ts";

const [endpoint = "", bucket = "", ca = "", secret = "", directory = ""] = process.argv.slice(2);

/** The largest resident size so far, in bytes. */
function peak(): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
}

const client = createS3Client({
  bucket: { endpoint, bucket, region: "us-east-1", pathStyle: true, ca: readFileSync(ca, "utf8") },
  credentials: () => readS3Credentials(secret),
  clock: systemClock,
  random: systemRandom,
});
const before = peak();
const { bytes } = await uploadPack(directory, "", "oomc-1", client);
process.stdout.write(JSON.stringify({ bytes, grew: peak() - before }));
client.close();
