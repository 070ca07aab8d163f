/** The little XML that S3 speaks: what is read of an answer, and the one document that is sent. */

export interface UploadedPiece {
  readonly etag: string;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** The text of the first element of that name. The documents of S3 are flat enough for this, and nothing else is ever read of them. */
export function field(xml: string, name: string): string | undefined {
  const [, text] = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml) ?? [];
  return text?.replaceAll(/&(lt|gt|quot|apos|amp|#34|#39|#x22|#x27);/g, (_, entity: string) => ENTITIES[entity] ?? "");
}

const ENTITIES: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  amp: "&",
  "#34": '"',
  "#39": "'",
  "#x22": '"',
  "#x27": "'",
};

/** The body that finishes an upload in pieces. */
export function completion(pieces: readonly UploadedPiece[]): string {
  const parts = pieces.map(({ etag, sha256 }, at) => {
    const checksum = Buffer.from(sha256, "hex").toString("base64");
    const tag = etag.replaceAll(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
    return `<Part><PartNumber>${at + 1}</PartNumber><ETag>${tag}</ETag><ChecksumSHA256>${checksum}</ChecksumSHA256></Part>`;
  });
  return `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts.join("")}</CompleteMultipartUpload>`;
}
