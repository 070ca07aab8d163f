/**
 * How the page looks. Colours of lines have a contrast of 3 to 1 on their ground and those of words 4.5 to 1, in light and in dark; no meaning
 * hangs on colour alone. Paper gets the light ones.
 */
const LIGHT = `
--ground:#fff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#57606a;--rule:#d5dae0;--link:#0550ae;
--l0:#0072b2;--l1:#b34700;--l2:#00785a;--l3:#8e4a86;--bad:#b3261e;
--anon:#4c8fc7;--shmem:#d98b4a;--kernel:#a884b8;--sock:#8a939c;--file:#8fc9a8;
--h0:#f7d9b5;--h1:#cfe3f5;--h2:#cfeadb;--h3:#efd3e6;--h4:#e9e6b8;--plumbing:#e3e6ea;--root:#d5dae0;--boxink:#1b1f24`;
const DARK = `
--ground:#0d1117;--panel:#161b22;--ink:#e6edf3;--soft:#9aa5b1;--rule:#30363d;--link:#79b8ff;
--l0:#56b4e9;--l1:#e69f00;--l2:#2dc58f;--l3:#f0e442;--bad:#ff7b72;
--anon:#2f6ea3;--shmem:#a8642b;--kernel:#7d5c8d;--sock:#5d6670;--file:#3f7a59;
--h0:#5c3d1c;--h1:#1d4263;--h2:#1d4d36;--h3:#57304c;--h4:#4d4a1c;--plumbing:#2b3138;--root:#30363d;--boxink:#f0f4f8`;

export const STYLE = `
:root{${LIGHT}}
@media (prefers-color-scheme:dark){:root{${DARK}}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,main,footer{max-width:1060px;margin:0 auto;padding:0 24px}
header{padding-top:20px}header p{margin:0;color:var(--soft)}
h1{margin:0 0 8px;font-size:1.9rem;line-height:1.2;overflow-wrap:anywhere}
h2{margin:0 0 12px;font-size:1.35rem}h3{margin:20px 0 8px;font-size:1.05rem;overflow-wrap:anywhere}
section{border-top:1px solid var(--rule);padding:20px 0 12px}
a{color:var(--link)}a:focus-visible,summary:focus-visible,button:focus-visible,input:focus-visible,svg:focus-visible,.box:focus-visible rect{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--ground);padding:8px}
nav ul,.legend{list-style:none;margin:0 0 12px;padding:0;display:flex;flex-wrap:wrap;gap:4px 18px;font-size:.9rem}
p,li,dd{overflow-wrap:anywhere}.note,footer{color:var(--soft);font-size:.9rem}
.verdict{font-size:1.15rem;margin:0 0 8px}.verdict strong{font-size:1.5rem}.means{font-size:1.1rem}
meter{width:120px;height:14px;vertical-align:middle}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:10px 24px;margin:0}
.facts dt{color:var(--soft);font-size:.85rem}.facts dd{margin:0}
figure{margin:12px 0 20px}figcaption{font-weight:600;margin-bottom:4px;overflow-wrap:anywhere}
.legend svg{margin-right:6px;vertical-align:-1px}.scroll{overflow-x:auto}.chart svg[viewBox],.flame svg,.bars{display:block;width:100%;min-width:560px;height:auto}
.multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:0 24px}.multiples svg[viewBox]{min-width:300px}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}.grid{stroke:var(--rule);stroke-width:1}.tick{stroke:var(--soft)}
svg .name{fill:var(--ink);font-weight:600;paint-order:stroke;stroke:var(--ground);stroke-width:4px}
path{fill:none}.line{stroke-width:2;stroke-linejoin:round}.l0{stroke:var(--l0)}.l1{stroke:var(--l1);stroke-dasharray:7 4}.l2{stroke:var(--l2);stroke-dasharray:2 3}.l3{stroke:var(--l3);stroke-dasharray:10 3 2 3}
.dot.l0{fill:var(--l0)}.dot.l1{fill:var(--l1)}.dot.l2{fill:var(--l2)}.dot.l3{fill:var(--l3)}
.band{stroke:var(--ground);stroke-width:1}.k-anon{fill:var(--anon)}.k-shmem{fill:var(--shmem)}.k-kernel{fill:var(--kernel)}.k-sock{fill:var(--sock)}.k-file{fill:var(--file)}
.usage{stroke:var(--ink);stroke-width:1.5}.level{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:8 4}
.rule{stroke-width:1.25;stroke-dasharray:3 3}.rule.kill{stroke:var(--bad)}.rule.restart{stroke:var(--soft)}
.mark{stroke-width:2}.mark.kill{stroke:var(--bad)}.mark.restart{fill:var(--l0)}.mark.rollout{fill:var(--l2)}.mark.event{fill:var(--soft)}
.cursor{stroke:var(--ink);stroke-width:1}output{display:block;min-height:1.5em;font-size:.9rem;font-variant-numeric:tabular-nums}
.bar.more{fill:var(--l1)}.bar.less{fill:var(--l0)}
.box rect{stroke:var(--ground);stroke-width:1}.box text{fill:var(--boxink);font:11px ui-monospace,monospace}.box{cursor:pointer}
.root rect{fill:var(--root)}.plumbing rect{fill:var(--plumbing)}.h0 rect{fill:var(--h0)}.h1 rect{fill:var(--h1)}.h2 rect{fill:var(--h2)}.h3 rect{fill:var(--h3)}.h4 rect{fill:var(--h4)}
.culprit rect{stroke:var(--bad);stroke-width:2}.culprit text{font-weight:700}.found rect{stroke:var(--ink);stroke-width:2.5}.dim{opacity:.35}.gone{display:none}
.tools{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:center;margin:6px 0}.tools[hidden]{display:none}.tools output{min-height:0}
input,button{font:inherit;color:inherit;background:var(--panel);border:1px solid var(--soft);border-radius:4px;padding:3px 8px}
details{margin:8px 0}summary{cursor:pointer}
table{border-collapse:collapse;margin:10px 0;font-size:.9rem;display:block;overflow-x:auto}caption{text-align:left;color:var(--soft);padding:4px 0}
th,td{text-align:left;padding:3px 12px 3px 0;border-bottom:1px solid var(--rule);vertical-align:top;font-weight:400}thead th{font-weight:600}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}code{font:.85em ui-monospace,monospace;overflow-wrap:anywhere}
@media print{:root{${LIGHT}}body{font-size:11pt}header,main,footer{max-width:none;padding:0}nav,.skip,.tools,output{display:none}
details::details-content{content-visibility:visible;display:block}.numbers{display:none}section{break-inside:auto}figure,tr,h2,h3{break-inside:avoid}h2,h3{break-after:avoid}
.chart svg[viewBox],.flame svg,.bars{min-width:0}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
`;
