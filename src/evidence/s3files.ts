/** What the operator must read of files to talk to a bucket: the keys of a mounted Secret, and a CA. Neither is ever put into a message. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { S3Problem } from "./s3problem.ts";
import type { S3Credentials } from "./s3sign.ts";

/** Longer than any key or token of an S3 server. */
const MAX_BYTES = 8 * 1024;

/**
 * Reads the Secret that is mounted at `directory`. Read again each time, because a kubelet replaces the files when the Secret changes.
 * Throws S3Problem, saying which file is missing or unusable.
 */
export async function readS3Credentials(directory: string): Promise<S3Credentials> {
  const accessKeyId = await readKey(directory, "accessKeyId");
  const secretAccessKey = await readKey(directory, "secretAccessKey");
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const missing = accessKeyId === undefined ? "accessKeyId" : "secretAccessKey";
    throw new S3Problem(
      "BadCredentials",
      `There is no file ${missing} in ${directory}; give the Secret a key of that name`,
    );
  }
  const sessionToken = await readKey(directory, "sessionToken");
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

async function readKey(directory: string, name: string): Promise<string | undefined> {
  let text: string;
  try {
    text = (await readFile(join(directory, name), "utf8")).trim();
  } catch {
    return undefined;
  }
  // What is not plain text would break a header apart.
  if (text.length > MAX_BYTES || !/^[\u0021-\u007e]+$/.test(text))
    throw new S3Problem("BadCredentials", `The file ${name} in ${directory} is empty or not one line of plain text`);
  return text;
}
