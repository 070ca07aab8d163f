/** What the operator and the command line agree on for taking a pack away (ADR 0026). */

/** Audience of the token: good for nothing else, not for the API server and not for sending evidence. */
export const DOWNLOAD_AUDIENCE = "oomscope-evidence-read";
/** The header that carries it. The API server's proxy takes `Authorization` away. */
export const DOWNLOAD_HEADER = "x-oomscope-token";
/** How long such a token lives, in seconds; the least that the API server makes. */
export const DOWNLOAD_TOKEN_SECONDS = 600;
