// A question before the views: the reader predicts, then sees.

function makeQuestion(app) {
  const { question } = app.packed;
  const answer = el("p", { class: "verdict", tabindex: "-1" });
  const title = el("h3", {}, prose(question.words));
  const tokens = el("div", { class: "tokens", role: "group",
    "aria-label": "Choose the token you expect" });
  const skip = el("button", { type: "button", class: "link",
    onclick: () => reveal(null) }, "Show me");
  const hint = el("p", { class: "hint" }, "Choose a token, then see.");
  const element = el("section", { class: "question" }, title, hint, tokens, skip, answer);
  const { layer, head, query } = question;
  app.frame.tokens.forEach((token, position) => {
    tokens.append(el("button", { type: "button", class: "guess",
      disabled: !app.frame.may(query, position),
      onclick: () => reveal(position) }, tokenText(token)));
  });

  function reveal(guess) {
    const { frame } = app;
    const row = frame.row(layer, head, query);
    const best = frame.strongestKey(layer, head, query);
    const truth = `The head looks most at ${quoted(frame, best)}: ${share(row[best])}.`;
    answer.textContent = guess === null ? truth : `${verdict(frame, row, guess, best)} ${truth}`;
    answer.className = guess === best ? "verdict right" : "verdict";
    Array.from(tokens.children).forEach((button, position) => {
      button.setAttribute("aria-pressed", String(position === guess));
      if (!frame.may(query, position)) return;
      const colour = app.colours.ofWeight(row[position]);
      button.style.background = css(colour);
      button.style.color = inkOn(colour);
    });
    skip.hidden = true;
    hint.hidden = true;
    app.set({ asked: true, layer, head, query, key: best });
    answer.focus();
    app.say(answer.textContent);
  }
  return { element };
}

function verdict(frame, row, guess, best) {
  if (guess === best) return "You predicted it.";
  const rank = 1 + row.filter((weight) => weight > row[guess]).length;
  return `You chose ${quoted(frame, guess)}: ${share(row[guess])}, number ${rank} of `
    + `${row.length}.`;
}
