/** An evidence server in a process of its own, to be killed at any moment. Argument: the store's folder. Says its address on stdout. */
import { openDoor } from "./door.ts";

const root = process.argv[2];
if (root === undefined) throw new Error("usage: server.child.ts FOLDER");
const { port, caCert } = await openDoor({ root });
process.stdout.write(`${JSON.stringify({ port, caCert })}\n`);
