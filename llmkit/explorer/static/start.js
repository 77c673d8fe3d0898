// Find the place, open the payload, build. JupyterLab, VS Code, Colab and a plain page
// each treat scripts in their own way, so nothing here relies on ids or attributes.

// The payload with this mark whose place nobody has taken, nearest to the script.
function findHost(script, mark) {
  const free = (root) => Array.from(root.querySelectorAll("script")).find((found) =>
    found.parentElement && !found.parentElement.explorer
      && found.textContent.startsWith(mark));
  for (let root = script?.parentNode; root; root = root.parentNode) {
    if (root.querySelectorAll && free(root)) return free(root);
  }
  return free(document);
}

async function openExplorer(host, text) {
  const packed = JSON.parse(text);
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser has no DecompressionStream; newer ones have");
  }
  const frames = await Promise.all(packed.frames.map(openFrame));
  const root = host.attachShadow({ mode: "open" });
  const app = new App(root, packed, frames);
  app.theme(host);
  // JupyterLab would take arrows and letters for itself.
  host.setAttribute("data-lm-suppress-shortcuts", "true");
  root.append(el("style", {}, STYLE), app.box);
  if (packed.question) {
    const question = makeQuestion(app);
    app.question.element.replaceWith(question.element);
  }
  app.draw();
  app.say(app.words());
  let width = app.box.clientWidth;
  new ResizeObserver(() => {
    const now = app.box.clientWidth;
    if (now === width || now === 0) return;
    width = now;
    app.draw();
  }).observe(app.box);
  watchTheme(host, () => {
    if (app.theme(host)) app.draw();
  });
}

function start(script, mark) {
  const payload = findHost(script, mark);
  if (!payload) return;
  const host = payload.parentElement;
  host.explorer = true; // taken
  openExplorer(host, payload.textContent).catch((error) => {
    const words = `The explorer could not start: ${error.message}. The picture stays.`;
    const place = host.shadowRoot?.querySelector(".explorer") ?? host;
    place.append(el("p", { role: "alert" }, words));
    console.error(error);
  });
}
