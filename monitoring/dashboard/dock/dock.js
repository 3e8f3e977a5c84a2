// The dock at the bottom of the page: terminals in tabs. monitoring/dashboard/terminal.py answers it.
"use strict";

const dock = (() => {
  const HASH = "#token=";
  const STORED = "cnet-dashboard-token";
  const tabs = [];
  let parts, places = [];

  // The token is in the URL's fragment, which a browser does not send. It is kept only for reloads of this tab.
  function readToken() {
    if (location.hash.startsWith(HASH)) {
      sessionStorage.setItem(STORED, location.hash.slice(HASH.length));
      history.replaceState(null, "", location.pathname + location.search);
    }
    return sessionStorage.getItem(STORED) || "";
  }

  // Ask the server; return its answer, or {error: one line}.
  async function ask(path) {
    try {
      const answer = await fetch(path, { method: "POST", headers: { Authorization: `Bearer ${readToken()}` } });
      return answer.ok ? await answer.json() : { error: (await answer.text()).trim() };
    } catch {
      return { error: "The dashboard does not answer." };
    }
  }

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function build() {
    const place = make("select", { id: "terminal-place" });
    place.onchange = () => { parts.open.textContent = `Terminal in ${place.value}`; };
    parts = {
      place,
      toggle: make("button", { className: "ask", id: "dock-toggle", textContent: "Hide" }),
      taller: make("button", { className: "ask dock-taller", textContent: "Taller" }),
      open: make("button", { className: "ask dock-open", id: "terminal-open", textContent: "Terminal" }),
      tabs: make("div", { className: "dock-tabs" }),
      panes: make("div", { className: "dock-panes" }),
      note: make("p", { className: "faint dock-note" }),
      body: make("div", { className: "dock-body" }),
    };
    parts.tabs.setAttribute("role", "tablist");
    parts.tabs.setAttribute("aria-label", "Open terminals");
    parts.note.setAttribute("role", "status");
    const label = make("label", { htmlFor: "terminal-place", textContent: "Shell on" });
    const help = make("span", { className: "faint dock-help", textContent: LEAVE });
    parts.panes.append(parts.note);
    parts.body.append(parts.panes);
    const bar = make("div", { className: "dock-bar" }, label, place, parts.open, parts.tabs, help, parts.taller,
      parts.toggle);
    parts.dock = make("section", { id: "dock", className: "dock" }, bar, parts.body);
    parts.dock.setAttribute("aria-label", "Terminal");
    parts.open.onclick = () => openTab(place.value);
    parts.toggle.onclick = () => show(parts.dock.classList.contains("folded"));
    parts.taller.onclick = () => {
      parts.taller.textContent = parts.dock.classList.toggle("tall") ? "Lower" : "Taller";
      leaveRoom();
    };
    document.body.append(parts.dock);
    show(false);
    new ResizeObserver(leaveRoom).observe(parts.dock);
  }

  function leaveRoom() { // the page's end, and what has the focus, can be scrolled above the dock
    document.body.style.paddingBottom = `${parts.dock.offsetHeight}px`;
    document.documentElement.style.scrollPaddingBottom = `${parts.dock.offsetHeight}px`;
  }

  function show(visible) {
    parts.dock.classList.toggle("folded", !visible);
    parts.toggle.textContent = visible ? "Hide" : "Show";
    parts.toggle.setAttribute("aria-expanded", String(visible));
  }

  const hasContent = () => tabs.length > 0 || parts.body.firstChild !== parts.panes; // terminals, or an exercise

  async function fill() {
    const found = await ask("/terminal/places");
    parts.note.textContent = found.error || "No terminal is open; a shell here is root's.";
    parts.note.classList.toggle("bad", Boolean(found.error));
    show(Boolean(found.error) || hasContent());
    places = found.places || [];
    parts.place.replaceChildren(...places.map((name) => make("option", { value: name, textContent: name })));
    parts.open.disabled = !places.length;
    if (places.length) parts.place.onchange();
  }

  function openTab(place) {
    show(true);
    const tab = { pane: make("div", { className: "dock-pane" }), button: make("button", { className: "dock-tab" }) };
    const closing = make("button", { className: "dock-close", textContent: "\u00d7" });
    closing.setAttribute("aria-label", `Close the terminal in ${place}`);
    tab.button.textContent = place;
    tab.button.setAttribute("role", "tab");
    tab.pane.setAttribute("role", "tabpanel");
    tab.pane.setAttribute("aria-label", `Terminal in ${place}`);
    tab.item = make("span", { className: "dock-tab-item" }, tab.button, closing);
    tab.item.setAttribute("role", "presentation");
    parts.tabs.append(tab.item);
    parts.panes.append(tab.pane);
    tabs.push(tab);
    choose(tab);
    tab.screen = make("div", { className: "dock-screen" });
    tab.pane.append(tab.screen);
    tab.shell = new ShellPane(place, readToken(), tab.screen, (why) => showEnd(tab, place, why));
    tab.button.onclick = () => { choose(tab); tab.shell.focus(); };
    closing.onclick = () => closeTab(tab);
    tab.shell.focus();
  }

  function showEnd(tab, place, why) {
    const again = make("button", { className: "ask", textContent: `New terminal in ${place}` });
    again.onclick = () => { closeTab(tab); openTab(place); };
    tab.pane.prepend(make("p", { className: "dock-ended" }, why, " ", again));
    tab.pane.firstChild.setAttribute("role", "status");
    if (tab.pane.contains(document.activeElement)) again.focus();
  }

  function choose(chosen) {
    for (const tab of tabs) {
      tab.pane.hidden = tab !== chosen;
      tab.button.setAttribute("aria-selected", String(tab === chosen));
    }
    parts.note.hidden = tabs.length > 0;
  }

  function closeTab(tab) {
    tab.shell.close();
    tab.item.remove();
    tab.pane.remove();
    tabs.splice(tabs.indexOf(tab), 1);
    choose(tabs.at(-1));
    show(hasContent());
    parts.open.focus();
  }

  // Called by the page with what was chosen on the map: a node's name, or the two ends of a flow.
  function chooseOnMap(names) {
    if (names?.length !== 1 || !places.includes(names[0])) return;
    parts.place.value = names[0];
    parts.open.textContent = `Terminal here: ${names[0]}`;
  }

  document.addEventListener("DOMContentLoaded", () => { readToken(); build(); fill(); });
  window.addEventListener("hashchange", () => { if (location.hash.startsWith(HASH)) { readToken(); fill(); } });
  const addBeside = (panel) => { parts.body.prepend(panel); show(true); }; // left of the terminals
  return { choose: chooseOnMap, addBeside, ask, make };
})();
window.dock = dock;
