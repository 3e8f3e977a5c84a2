// One terminal: xterm.js and the WebSocket of its shell. dock.js makes the tabs.
"use strict";

const TAKEN_EVERY = 8192; // bytes shown before it is reported to the server; it sends at most 64 KB ahead
const PASTE_CHUNK = 16384; // bytes of one message
const LEAVE = "Esc, then Tab leaves the terminal";

function pageColours() {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return {
    background: colour("--card"), foreground: colour("--ink"), cursor: colour("--ink"), cursorAccent: colour("--card"),
    selectionBackground: colour("--selection"), black: colour("--ansi-black"), red: colour("--bad"),
    green: colour("--good"), yellow: colour("--half"), blue: colour("--bar"), magenta: colour("--ansi-magenta"),
    cyan: colour("--ansi-cyan"), white: colour("--ansi-white"), brightBlack: colour("--faint"),
    brightRed: colour("--bad"), brightGreen: colour("--good"), brightYellow: colour("--half"),
    brightBlue: colour("--bar"), brightMagenta: colour("--ansi-magenta"), brightCyan: colour("--ansi-cyan"),
    brightWhite: colour("--ink"),
  };
}

class ShellPane {
  // `element` is empty and visible; `ended` is called once, when the shell or the connection has ended.
  constructor(place, token, element, ended) {
    this.place = place;
    this.element = element;
    this.ended = ended;
    this.why = "";
    this.notTold = 0;
    this.screen = new Terminal({
      fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
      fontSize: 13, scrollback: 5000, screenReaderMode: true, theme: pageColours(), minimumContrastRatio: 4.5,
    });
    this.fit = new FitAddon.FitAddon();
    this.screen.loadAddon(this.fit);
    this.screen.open(element);
    this.screen.textarea.setAttribute("aria-label", `Terminal: ${place}. ${LEAVE}.`);
    this.leaveByKeyboard();
    this.connect(token);
    this.resizes = new ResizeObserver(() => this.resize());
    this.resizes.observe(element);
    this.scheme = window.matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => { this.screen.options.theme = pageColours(); };
    this.scheme.addEventListener("change", this.recolour);
  }

  connect(token) {
    const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/terminal/shell/`;
    this.socket = new WebSocket(url + encodeURIComponent(this.place), ["cnet-terminal", `token.${token}`]);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.opened = true;
      this.resize(true);
    };
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        const status = JSON.parse(data).ended;
        this.why = `The shell has ended (${status === null ? "by a signal" : `exit status ${status}`}).`;
      } else {
        this.screen.write(new Uint8Array(data), () => this.taken(data.byteLength));
      }
    };
    this.socket.onclose = ({ reason }) => this.end(this.why || reason || this.lost());
    this.screen.onData((text) => this.type(new TextEncoder().encode(text)));
    this.screen.onBinary((text) => this.type(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  }

  lost() {
    return this.opened
      ? "The connection has ended, and with it the shell: the dashboard was stopped."
      : "The dashboard refused the terminal or does not run: open the URL that its last start printed.";
  }

  // Report to the server what was shown: it waits while much is not shown yet, so that a flood fills no memory.
  taken(bytes) {
    this.notTold += bytes;
    if (this.notTold >= TAKEN_EVERY) {
      this.send(JSON.stringify({ taken: this.notTold }));
      this.notTold = 0;
    }
  }

  type(bytes) {
    for (let at = 0; at < bytes.length; at += PASTE_CHUNK) this.send(bytes.subarray(at, at + PASTE_CHUNK));
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(message);
  }

  resize(always = false) {
    if (!this.element.clientWidth) return; // a hidden tab
    const size = this.fit.proposeDimensions();
    if (!size || !size.cols || !size.rows) return;
    if (always || size.cols !== this.screen.cols || size.rows !== this.screen.rows) {
      this.screen.resize(size.cols, size.rows);
      this.send(JSON.stringify({ rows: size.rows, columns: size.cols }));
    }
  }

  // A terminal takes Tab (with its screen reader mode xterm.js lets the browser have it, too). After Esc the browser
  // gets it instead, and moves the focus.
  leaveByKeyboard() {
    let afterEscape = false;
    this.screen.attachCustomKeyEventHandler((event) => {
      if (event.type !== "keydown" || ["Shift", "Control", "Alt", "Meta"].includes(event.key)) return true;
      const leaves = event.key === "Tab" && afterEscape;
      if (event.key === "Tab" && !leaves) event.preventDefault();
      afterEscape = event.key === "Escape";
      return !leaves;
    });
  }

  focus() {
    this.screen.focus();
  }

  end(why) {
    if (this.over) return;
    this.over = true;
    this.screen.options.disableStdin = true;
    this.screen.options.cursorBlink = false;
    this.ended(why);
  }

  close() {
    this.over = true;
    this.socket.close();
    this.resizes.disconnect();
    this.scheme.removeEventListener("change", this.recolour);
    this.screen.dispose();
    this.element.remove();
  }
}
