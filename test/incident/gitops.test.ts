/** Who owns an object, by the marks that each tool leaves, and would a change hold? */
import { expect, test } from "vitest";
import { gitOpsOwner } from "../../src/incident/gitops.ts";

const FLUX = { "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system" };
const RELEASE = { "helm.toolkit.fluxcd.io/name": "thumbs", "helm.toolkit.fluxcd.io/namespace": "media" };
const HELM = { "app.kubernetes.io/managed-by": "Helm" };

test.each<[string, Record<string, string>, Record<string, string>, string | undefined, string | undefined]>([
  ["Flux", FLUX, {}, "Flux Kustomization flux-system/apps", "Reverts"],
  [
    "Flux, told to leave it",
    FLUX,
    { "kustomize.toolkit.fluxcd.io/reconcile": "disabled" },
    "Flux Kustomization flux-system/apps",
    "Holds",
  ],
  [
    "Flux, told something else",
    FLUX,
    { "kustomize.toolkit.fluxcd.io/reconcile": "enabled" },
    "Flux Kustomization flux-system/apps",
    "Reverts",
  ],
  [
    "a HelmRelease of Flux",
    { ...RELEASE, ...HELM },
    { "meta.helm.sh/release-name": "thumbs" },
    "Flux HelmRelease media/thumbs",
    "Reverts",
  ],
  [
    "one without drift detection",
    RELEASE,
    { "helm.toolkit.fluxcd.io/driftDetection": "disabled" },
    "Flux HelmRelease media/thumbs",
    "Holds",
  ],
  [
    "Argo CD by annotation",
    {},
    { "argocd.argoproj.io/tracking-id": "media:apps/Deployment:media/t" },
    "Argo CD Application media",
    "Reverts",
  ],
  ["Argo CD by label", { "argocd.argoproj.io/instance": "media" }, {}, "Argo CD Application media", "Reverts"],
  ["Helm", HELM, { "meta.helm.sh/release-name": "thumbs" }, "Helm release thumbs", "Holds"],
  ["a label that every chart sets", { "app.kubernetes.io/instance": "thumbs" }, {}, undefined, undefined],
  ["half of Helm's marks", HELM, {}, undefined, undefined],
  ["nobody", {}, {}, undefined, undefined],
])("%s", (_name, labels, annotations, owner, change) => {
  expect(gitOpsOwner(labels, annotations)).toEqual(owner === undefined ? undefined : { owner, change });
});

test("a mark of any length makes a short name", () => {
  const long = gitOpsOwner({}, { "argocd.argoproj.io/tracking-id": "x".repeat(100_000) });
  expect(long?.owner.length).toBeLessThan(200);
});
