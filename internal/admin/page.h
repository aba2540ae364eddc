// The page for people: one file, no assets from elsewhere, fed from /status.
#pragma once

namespace logstream::admin {

inline constexpr const char* kPage = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>LogStream</title>
<style>
  :root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.4rem; } h1 small { font-weight: normal; opacity: .6; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #8884; }
  .ok { color: #2a8c4a; } .bad { color: #c0392b; }
  code { font-size: .9em; }
</style></head><body>
<h1>LogStream <small id="cluster"></small></h1>
<p id="state"></p>
<p id="warnings" class="bad"></p>
<table><thead><tr><th>member</th><th>address</th><th>role</th><th>phi</th><th>lag (records)</th></tr></thead>
<tbody id="members"></tbody></table>
<p><a href="/status">status</a> · <a href="/metrics">metrics</a></p>
<script>
const text = (tag, value) => { const e = document.createElement(tag); e.textContent = value; return e; };
async function show() {
  try {
    const s = await (await fetch('/status')).json();
    document.getElementById('cluster').textContent = `${s.cluster} · ${s.name}`;
    const state = document.getElementById('state');
    state.className = s.quorum ? 'ok' : 'bad';
    state.textContent = `view ${s.view}, ${s.quorum ? 'writes are accepted' : s.reason}; ` +
      `${s.topics} topics, ${(s.disk.bytes / 1048576).toFixed(1)} MiB, replication by ${s.transport}`;
    document.getElementById('warnings').textContent = (s.warnings || []).join(' ');
    document.getElementById('members').replaceChildren(...s.members.map(m => {
      const row = document.createElement('tr');
      row.append(text('td', m.name), text('td', m.address), text('td', m.role + (m.failed ? ' (failed)' : '')),
                 text('td', m.phi.toFixed(1)), text('td', m.lag_records));
      return row;
    }));
  } catch (e) { document.getElementById('state').textContent = 'this broker does not answer'; }
}
show(); setInterval(show, 1000);
</script></body></html>
)html";

}  // namespace logstream::admin
