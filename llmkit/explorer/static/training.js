// Training: one head at each step that was kept, beside the loss.

const FILM = 72; // side of a picture in the strip
const CURVE = { widest: 560, height: 170, left: 52, right: 12, top: 10, bottom: 34 };

// The slider that stands above all views, with a button that plays.
function makeScrubber(app) {
  const { frames } = app;
  const last = frames.length - 1;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const slider = el("input", { type: "range", min: "0", max: String(last), step: "1",
    "aria-label": "Step of training" });
  const button = el("button", { type: "button" }, calm ? "Next" : "Play");
  const words = el("span", { class: "step-words" });
  const element = el("div", { class: "scrubber" }, button, slider, words);
  let timer = null;

  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = calm ? "Next" : "Play";
  }

  function next() {
    if (!element.isConnected || app.state.frame === last) stop();
    else app.set({ frame: app.state.frame + 1 });
    if (app.state.frame === last) stop();
  }

  button.addEventListener("click", () => {
    if (timer !== null) {
      stop();
      return;
    }
    if (app.state.frame === last) app.set({ frame: 0 });
    else if (calm) next();
    if (calm) return; // one step a press: nothing moves by itself
    button.textContent = "Pause";
    timer = setInterval(next, 700);
  });
  slider.addEventListener("input", () => {
    stop();
    app.set({ frame: Number(slider.value) });
  });

  function draw() {
    const text = stepWords(app, app.state.frame);
    slider.value = String(app.state.frame);
    slider.setAttribute("aria-valuetext", text);
    words.textContent = text;
  }
  return { element, draw };
}

function stepWords(app, frame) {
  const label = prose(app.frames[frame].label || `step ${frame + 1}`);
  const { training } = app.packed;
  if (!training) return label;
  return `${label}, loss ${number(training.losses[training.frames_at[frame]] ?? NaN, 2)}`;
}

function makeTraining(app) {
  const curve = el("div", { class: "wide" });
  const film = el("div", { class: "film", role: "group", "aria-label": "Steps" });
  const title = el("h3");
  const element = el("div", {}, curve, title, film);
  const stills = app.frames.map((_, frame) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const name = el("span", {}, stepWords(app, frame).split(", loss")[0]);
    const tag = el("span", { class: "tag" });
    const button = el("button", { type: "button", class: "still",
      onclick: () => app.set({ frame }) }, canvas, name, tag);
    return { canvas, button, tag };
  });
  film.append(...stills.map(({ button }) => button));

  function draw() {
    const { layer, head, frame: here } = app.state;
    if (app.packed.training?.losses.some(Number.isFinite)) curve.replaceChildren(lossCurve(app));
    title.textContent = `Layer ${layer}, head ${head} while it learns`;
    app.frames.forEach((frame, i) => {
      const { canvas, button, tag } = stills[i];
      const context = sharp(canvas, FILM, FILM);
      const pooled = pooling(frame.T, Math.round(FILM * ratioOf(context)));
      if (hasHead(frame, layer, head)) {
        drawHead(context, pooled, frame, layer, head, [0, 0], app.colours);
      }
      button.setAttribute("aria-pressed", String(i === here));
      const best = frame.tagsOf(layer, head)[0];
      tag.textContent = best ? `${best.name} ${share(best.score)}` : "";
    });
  }
  return { element, draw };
}

// The loss over the steps, a point at each frame.
function lossCurve(app) {
  const { colours } = app;
  const { steps, losses, frames_at: places } = app.packed.training;
  const { height, left, right, top, bottom } = CURVE;
  const width = Math.min(CURVE.widest, app.room() - 6);
  const finite = losses.filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const [first, last] = [steps[0], steps[steps.length - 1]];
  const x = (step) => left + ((step - first) / (last - first || 1)) * (width - left - right);
  const y = (loss) => top + ((high - loss) / (high - low || 1)) * (height - top - bottom);
  const known = steps.map((step, i) => [x(step), losses[i]])
    .filter(([, loss]) => Number.isFinite(loss));
  const points = known.map(([at, loss]) => `${at.toFixed(1)},${y(loss).toFixed(1)}`);
  const words = `Loss from ${number(known[0][1], 2)} at step ${first} to `
    + `${number(known[known.length - 1][1], 2)} at step ${last}`;
  const text = (at, anchor, content) => svg("text", { x: at[0], y: at[1],
    "text-anchor": anchor, fill: colours.text, "font-size": 12 }, content);
  const drawing = svg("svg", { width, height, role: "img",
    class: "curve", "aria-label": words },
  svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom,
    stroke: colours.line }),
  svg("line", { x1: left, x2: left, y1: top, y2: height - bottom, stroke: colours.line }),
  svg("polyline", { points: points.join(" "), fill: "none", stroke: css(colours.blue),
    "stroke-width": 2, "stroke-linejoin": "round" }),
  text([left - 6, y(high) + 4], "end", number(high, 2)),
  text([left - 6, y(low) + 4], "end", number(low, 2)),
  text([left, height - 16], "middle", String(first)),
  text([width - right, height - 16], "end", String(last)),
  text([(left + width) / 2, height - 4], "middle", "step"));
  places.forEach((place, frame) => {
    if (!Number.isFinite(losses[place])) return;
    const here = frame === app.state.frame;
    const dot = svg("circle", { cx: x(steps[place]), cy: y(losses[place]),
      r: here ? 7 : 4, fill: css(here ? colours.orange : colours.blue),
      stroke: colours.surface, "stroke-width": 1.5 });
    dot.addEventListener("click", () => app.set({ frame }));
    drawing.append(dot);
  });
  return drawing;
}
