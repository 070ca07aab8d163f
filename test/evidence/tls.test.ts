import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:tls";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock, systemRandom, type Clock } from "../../src/seams.ts";
import {
  createAuthority,
  issueServerCertificate,
  isWholeIdentity,
  needsRenewal,
  type ServingIdentity,
} from "../../src/evidence/tls.ts";

const DAY_MS = 86_400_000;
const at = (iso: string): Clock => ({ ...systemClock, now: () => new Date(iso) });
const START = "2030-03-01T12:00:00Z";

function identity(clock: Clock, dns: readonly string[], ips: readonly string[]): ServingIdentity {
  return issueServerCertificate(createAuthority(clock, systemRandom), dns, ips, clock, systemRandom);
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function handshake(served: ServingIdentity, ca: string, servername: string): Promise<string> {
  const server = createServer({ cert: served.cert, key: served.key, minVersion: "TLSv1.3" }, (socket) => socket.end());
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  closers.push(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = connect({ port, host: "127.0.0.1", ca, servername });
  closers.push(() => socket.destroy());
  try {
    await once(socket, "secureConnect");
    return "Trusted";
  } catch (cause) {
    return cause instanceof Error && "code" in cause ? String(cause.code) : "Failed";
  }
}

describe("the evidence server's certificates", () => {
  it("are trusted by a TLS client that knows the authority, under each name", async () => {
    const made = identity(systemClock, ["oomscope-evidence.oomscope-system.svc"], ["127.0.0.1"]);
    expect(await handshake(made, made.caCert, "oomscope-evidence.oomscope-system.svc")).toBe("Trusted");
  });

  it("are refused under another name and by a client that knows another authority", async () => {
    const made = identity(systemClock, ["oomscope-evidence.oomscope-system.svc"], []);
    const other = createAuthority(systemClock, systemRandom);
    expect(await handshake(made, made.caCert, "kubernetes.default.svc")).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    expect(await handshake(made, other.cert, "oomscope-evidence.oomscope-system.svc")).not.toBe("Trusted");
  });

  it("carry what they are for, and nothing more", () => {
    const made = identity(at(START), ["a.example"], ["10.0.0.1", "fd00::1", "::ffff:192.0.2.7"]);
    const ca = new X509Certificate(made.caCert);
    const leaf = new X509Certificate(made.cert);
    expect(ca.ca).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(leaf.checkHost("a.example")).toBe("a.example");
    expect(leaf.checkHost("b.example")).toBeUndefined();
    for (const ip of ["10.0.0.1", "fd00::1", "::ffff:192.0.2.7"]) expect(leaf.checkIP(ip)).toBe(ip);
    expect(leaf.checkIP("fd00::2")).toBeUndefined();
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
  });

  it("are valid from one hour before they are made, the leaf for 90 days, the authority for ten years", () => {
    const made = identity(at(START), ["a.example"], []);
    const leaf = new X509Certificate(made.cert);
    const ca = new X509Certificate(made.caCert);
    expect(new Date(leaf.validFrom).toISOString()).toBe("2030-03-01T11:00:00.000Z");
    expect(Date.parse(leaf.validTo) - Date.parse(START)).toBe(90 * DAY_MS);
    expect(new Date(ca.validFrom).toISOString()).toBe("2030-03-01T11:00:00.000Z");
    expect(Date.parse(ca.validTo) - Date.parse(START)).toBe(3650 * DAY_MS);
  });

  it("are written with four-digit years from 2050 on", () => {
    const made = identity(at("2049-12-31T00:00:00Z"), ["a.example"], []);
    expect(new Date(new X509Certificate(made.cert).validTo).toISOString()).toBe("2050-03-31T00:00:00.000Z");
  });

  it("never outlive their authority", () => {
    const authority = createAuthority(at(START), systemRandom);
    const late = at("2040-02-01T00:00:00Z");
    const made = issueServerCertificate(authority, ["a.example"], [], late, systemRandom);
    expect(new X509Certificate(made.cert).validTo).toBe(new X509Certificate(authority.cert).validTo);
  });

  it("are renewed when two thirds of their life are over", () => {
    const { cert } = identity(at(START), ["a.example"], []);
    expect(needsRenewal(cert, at("2030-04-30T00:00:00Z"))).toBe(false);
    expect(needsRenewal(cert, at("2030-05-01T00:00:00Z"))).toBe(true);
    expect(needsRenewal(cert, at("2031-05-01T00:00:00Z"))).toBe(true);
    expect(needsRenewal("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----", at(START))).toBe(true);
  });

  it("have a new serial number each, and authorities a name of their own", () => {
    const clock = at(START);
    const authority = createAuthority(clock, systemRandom);
    const issue = () => issueServerCertificate(authority, ["a.example"], [], clock, systemRandom).cert;
    const serials = Array.from({ length: 20 }, () => new X509Certificate(issue()).serialNumber);
    expect(new Set(serials).size).toBe(20);
    const other = createAuthority(clock, systemRandom);
    expect(new X509Certificate(authority.cert).subject).not.toBe(new X509Certificate(other.cert).subject);
  });

  it("are checked as a set when they come back from a Secret", () => {
    const made = identity(systemClock, ["a.example"], []);
    const other = identity(systemClock, ["a.example"], []);
    expect(isWholeIdentity(made)).toBe(true);
    expect(isWholeIdentity({ ...made, key: other.key })).toBe(false);
    expect(isWholeIdentity({ ...made, caKey: other.caKey })).toBe(false);
    expect(isWholeIdentity({ ...made, caCert: other.caCert, caKey: other.caKey })).toBe(false);
    expect(isWholeIdentity({ ...made, cert: made.caCert, key: made.caKey })).toBe(false);
    expect(isWholeIdentity({ ...made, cert: "" })).toBe(false);
  });

  it("need a name or an address, and a real address", () => {
    const authority = createAuthority(systemClock, systemRandom);
    const issue = (dns: readonly string[], ips: readonly string[]) => () =>
      issueServerCertificate(authority, dns, ips, systemClock, systemRandom);
    expect(issue([], [])).toThrow(RangeError);
    expect(issue([], ["10.0.0"])).toThrow(RangeError);
    expect(issue([], ["fe80::1%eth0"])).toThrow(RangeError);
  });
});
