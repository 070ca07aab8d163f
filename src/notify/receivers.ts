/**
 * Where are messages sent? A folder with the files of a mounted Secret says it: a receiver is there when its file is. Read again for each message, because a
 * kubelet replaces the files when the Secret changes. Nothing of what they hold is ever put into a message or a log.
 */
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { RECEIVERS, type Receiver } from "./payloads.ts";

export interface Address {
  readonly url: URL;
  /** Value of the header Authorization. */
  readonly authorization: string | undefined;
  /** PEM of the authority that signed the receiver's certificate. */
  readonly ca: string | undefined;
}

/** Why a receiver cannot be used, in a sentence that says what to do. Holds no secret. */
export class ReceiverProblem extends Error {
  override readonly name = "ReceiverProblem";
}

const MAX_BYTES = 64 * 1024;
const MAX_URL = 2048;

/** The receivers that the folder names. Throws ReceiverProblem when it cannot be read or names none. */
export async function receiversIn(directory: string): Promise<Receiver[]> {
  const files = await readdir(directory).catch(() => undefined);
  if (files === undefined)
    throw new ReceiverProblem(`The folder ${directory} cannot be read; mount the Secret with the receivers there`);
  const found = RECEIVERS.filter((receiver) => files.includes(`${receiver}-url`));
  if (found.length === 0)
    throw new ReceiverProblem(
      `There is no receiver in ${directory}; give the Secret a key ${RECEIVERS.map((name) => `${name}-url`).join(", ")}`,
    );
  return found;
}

/** Throws ReceiverProblem when the file is gone, or holds no address that can be used. */
export async function addressOf(directory: string, receiver: Receiver): Promise<Address> {
  const name = `${receiver}-url`;
  const text = await line(directory, name);
  if (text === undefined) throw new ReceiverProblem(`There is no file ${name} in ${directory} any more`);
  const url = text.length <= MAX_URL && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    throw new ReceiverProblem(
      `The file ${name} in ${directory} must hold one http:// or https:// address without user and password; those belong into ${receiver}-authorization`,
    );
  if (receiver === "alertmanager" && !url.pathname.endsWith("/api/v2/alerts"))
    url.pathname = `${url.pathname.replace(/\/$/, "")}/api/v2/alerts`;
  return {
    url,
    authorization: await line(directory, `${receiver}-authorization`),
    ca: await contents(join(directory, "ca.crt")),
  };
}

async function line(directory: string, name: string): Promise<string | undefined> {
  const text = (await contents(join(directory, name)))?.trim();
  // What is not plain text would break a header apart.
  if (text !== undefined && !/^[\u0020-\u007e]+$/.test(text))
    throw new ReceiverProblem(`The file ${name} in ${directory} must hold one line of plain text`);
  return text;
}

async function contents(path: string): Promise<string | undefined> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}
