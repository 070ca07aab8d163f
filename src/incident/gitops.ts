/**
 * Who else holds this object to what it should be? Flux, Argo CD and Helm mark what they apply. Whether a change of ours would be put back
 * follows from the marks as far as it can; labels may be copied by anybody, so they only ever make oomscope more careful.
 */
type Texts = Readonly<Record<string, string>>;

export interface GitOpsOwner {
  /** For people, such as `Flux Kustomization flux-system/apps`. */
  readonly owner: string;
  /** Reverts: it puts back what differs from Git, within its interval or at once. Holds: a change stays until its next release or sync. */
  readonly change: "Reverts" | "Holds";
}

/** The tool that applied an object; undefined where none has left a mark. */
export function gitOpsOwner(labels: Texts, annotations: Texts): GitOpsOwner | undefined {
  return flux(labels, annotations) ?? argoCd(labels, annotations) ?? helm(labels, annotations);
}

const clean = (text: string | undefined): string => (text ?? "").slice(0, 128);

function flux(labels: Texts, annotations: Texts): GitOpsOwner | undefined {
  const kustomization = labels["kustomize.toolkit.fluxcd.io/name"];
  if (kustomization !== undefined) {
    const owner = `Flux Kustomization ${clean(labels["kustomize.toolkit.fluxcd.io/namespace"])}/${clean(kustomization)}`;
    // The one mark that makes Flux leave an object as it is.
    const disabled = annotations["kustomize.toolkit.fluxcd.io/reconcile"] === "disabled";
    return { owner, change: disabled ? "Holds" : "Reverts" };
  }
  const release = labels["helm.toolkit.fluxcd.io/name"];
  if (release === undefined) return undefined;
  // Drift of a HelmRelease is corrected only where its owner has switched that on, which the object does not show.
  const disabled = annotations["helm.toolkit.fluxcd.io/driftDetection"] === "disabled";
  const owner = `Flux HelmRelease ${clean(labels["helm.toolkit.fluxcd.io/namespace"])}/${clean(release)}`;
  return { owner, change: disabled ? "Holds" : "Reverts" };
}

/** `app.kubernetes.io/instance` is no mark of it: nearly every chart sets that label. */
function argoCd(labels: Texts, annotations: Texts): GitOpsOwner | undefined {
  const tracking = annotations["argocd.argoproj.io/tracking-id"]?.split(":")[0];
  const name = tracking ?? labels["argocd.argoproj.io/instance"];
  // Whether the Application heals itself does not stand on the object: the worse is taken for true.
  return name === undefined ? undefined : { owner: `Argo CD Application ${clean(name)}`, change: "Reverts" };
}

function helm(labels: Texts, annotations: Texts): GitOpsOwner | undefined {
  const release = annotations["meta.helm.sh/release-name"];
  if (release === undefined || labels["app.kubernetes.io/managed-by"] !== "Helm") return undefined;
  return { owner: `Helm release ${clean(release)}`, change: "Holds" };
}
