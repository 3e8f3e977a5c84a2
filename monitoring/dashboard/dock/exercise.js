// The panel of an exercise beside the terminal: symptom, hints, check, reset, give up, explanation.
"use strict";

(() => {
  const { ask, make } = dock;
  const POLL_MILLISECONDS = 3000; // the commands may also be typed in a terminal
  const GRADES = ["still broken", "broken since", "repaired", "works"];
  const WORDS = {
    "still broken": "Still broken", "broken since": "Broken since the start: look at what you changed",
    repaired: "Repaired", works: "Works",
  };
  let parts, busy = false, explained = false;

  function build() {
    const button = (id, text, action) => make("button", { className: "ask", id, textContent: text, onclick: action });
    parts = {
      title: make("h2", { textContent: "Exercise" }),
      score: make("p", { className: "faint", id: "exercise-score" }),
      symptom: make("p", { id: "exercise-symptom" }),
      check: button("exercise-check", "Check", check),
      hint: button("exercise-hint", "Hint", () => run("hint", "asking")),
      reset: button("exercise-reset", "Reset", () => run("reset", "repairing the lab, and breaking it again")),
      giveUp: button("exercise-give-up", "Give up", askOnce),
      hints: make("ol", { id: "exercise-hints" }),
      status: make("div", { id: "exercise-status" }),
      result: make("div", { id: "exercise-result" }),
      explanation: make("div", { id: "exercise-explanation" }),
    };
    parts.status.setAttribute("role", "status");
    const buttons = make("div", { className: "exercise-buttons" }, parts.check, parts.hint, parts.reset, parts.giveUp);
    parts.panel = make("section", { className: "exercise", id: "exercise" }, parts.title, parts.score, parts.symptom,
      buttons, parts.hints, parts.status, parts.result, parts.explanation);
    parts.panel.setAttribute("aria-label", "Exercise");
    const narrow = window.matchMedia("(max-width: 800px)");
    const place = () => (narrow.matches ? document.body.prepend(parts.panel) : dock.addBeside(parts.panel));
    narrow.addEventListener("change", place);
    place();
    refresh();
    setInterval(() => { if (!busy && !document.hidden) refresh(); }, POLL_MILLISECONDS);
  }

  // Show points, hints and the outcome; the explanation, once there is an outcome.
  async function refresh() {
    const now = await ask("/exercise/symptom");
    if (now.error || now.message) {
      say(now.error || now.message, "bad");
      return;
    }
    parts.title.textContent = now.title;
    const points = now.outcome === "solved" ? `solved: ${now.score} of ${now.points} points`
      : now.outcome ? `${now.outcome}: no points` : `${now.score} of ${now.points} points left`;
    parts.score.textContent = `Level ${now.level} \u00b7 ${points}`;
    parts.symptom.textContent = now.symptom;
    parts.hint.disabled = !now.hints_left;
    parts.hint.textContent = !now.hints_left ? "No more hints" : now.outcome ? "Hint" : `Hint (costs ${now.costs})`;
    parts.giveUp.hidden = Boolean(now.outcome);
    if (parts.hints.childElementCount !== now.given_hints.length) {
      parts.hints.replaceChildren(...now.given_hints.map((text) => make("li", { textContent: text })));
    }
    if (now.outcome && !explained) await explain();
  }

  function say(text, kind = "") {
    parts.status.replaceChildren(text ? make("p", { className: kind, textContent: text }) : "");
  }

  // Ask the exercise, with the seconds so far; return its answer, or nothing after an error, which is shown.
  async function run(command, words) {
    if (busy) return null;
    busy = true;
    const buttons = [...parts.panel.querySelectorAll("button")].filter((one) => !one.disabled);
    buttons.forEach((one) => { one.disabled = true; });
    const begin = performance.now();
    const tick = () => say(`${words}: ${Math.round((performance.now() - begin) / 1000)} s`, "faint");
    tick();
    const timer = setInterval(tick, 1000);
    const answer = await ask(`/exercise/${command}`);
    clearInterval(timer);
    buttons.forEach((one) => { one.disabled = false; });
    busy = false;
    say("");
    if (command === "reset" && "reset_seconds" in answer) {
      parts.result.replaceChildren();
      say("The lab is as it was when the exercise began; your changes are undone.");
    }
    await refresh();
    if (answer.error || answer.message) say(answer.error || answer.message, "bad");
    return answer.error || answer.message ? null : answer;
  }

  async function check() {
    parts.result.replaceChildren(); // an old result would look like the new one
    const found = await run("check", "trying what must work, and what must stay closed");
    if (!found) return;
    const groups = Map.groupBy(found.behaviours, (one) => one.grade);
    const failing = (groups.get("still broken") || []).length + (groups.get("broken since") || []).length;
    const verdict = found.repaired ? `Repaired: everything works (${found.check_seconds} s).`
      : `Not repaired: ${failing} of ${found.behaviours.length} tests fail.`;
    parts.result.replaceChildren(
      make("p", { className: found.repaired ? "good exercise-verdict" : "bad exercise-verdict", textContent: verdict }),
      ...GRADES.filter((grade) => groups.has(grade)).map((grade) => group(grade, groups.get(grade))),
    );
    parts.result.scrollIntoView({ block: found.repaired ? "start" : "nearest" });
  }

  function group(grade, behaviours) {
    const bad = grade === "still broken" || grade === "broken since";
    const items = behaviours.map(({ name, detail }) => make("li", {}, name,
      detail ? make("span", { className: "faint", textContent: ` ${detail}` }) : ""));
    const summary = make("summary", {
      className: bad ? "bad" : "good", textContent: `${WORDS[grade]} (${behaviours.length})`,
    });
    const details = make("details", { open: bad }, summary, make("ul", {}, ...items));
    details.dataset.grade = grade;
    return details;
  }

  // Giving up asks once: it ends the exercise without points.
  function askOnce() {
    const no = make("button", { className: "ask", textContent: "No, go on" });
    const yes = make("button", { className: "ask", textContent: "Yes, show the cause" });
    no.onclick = () => { say(""); parts.giveUp.focus(); };
    yes.onclick = giveUp;
    parts.status.replaceChildren(make("p", {}, "Give up? You get no points for this exercise. ", yes, " ", no));
    no.focus();
  }

  async function giveUp() {
    explained = true; // the answer has the explanation
    const answer = await run("give-up", "asking");
    if (!answer) return;
    const repairs = Object.entries(answer.repairs).map(([words, commands]) =>
      make("li", {}, words, make("pre", { textContent: commands })));
    showExplanation(answer.explanation,
      make("h3", { textContent: "The cause" }), make("p", { textContent: Object.values(answer.cause).join(" ") }),
      make("h3", { textContent: "Repairs" }), make("ul", {}, ...repairs));
  }

  async function explain() {
    explained = true;
    const answer = await ask("/exercise/explain");
    if (answer.explanation) showExplanation(answer.explanation);
  }

  function showExplanation(html, ...before) { // the server made the HTML from Markdown, without any HTML in it
    const text = make("div", { innerHTML: html });
    parts.explanation.replaceChildren(...before, make("h3", { textContent: "What happened" }), text);
  }

  document.addEventListener("DOMContentLoaded", build);
})();
