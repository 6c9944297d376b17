// Reviewing one by one: the next image is drawn at once, and what was decided goes out behind it, in its order.
// Without this the same forms and links load page after page.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const AHEAD = 4;
  // Whoever is led back to an image has time to see it before a key counts again.
  const PAUSE = 600;
  const AWAY = "The site can't be reached.";
  const LOGGED_OUT = "You are logged out. Log in in another tab, then do it again.";

  const shown = () => $("#review");
  const idIn = (link) => link && new URL(link.href, location.href).searchParams.get("image");
  const hold = (held) => { clipsite.keys.held = held; };

  const ask = async (address, body) => {
    const headers = { "HX-Request": "true", "HX-Current-URL": location.href, "X-CSRFToken": clipsite.csrf() };
    try {
      // A request that is under way when somebody leaves the page still arrives.
      const answer = await fetch(address, { method: body ? "POST" : "GET", body, headers, keepalive: Boolean(body) });
      const text = await answer.text();
      if (new URL(answer.url).pathname.startsWith("/accounts/login/")) return { lost: true, words: LOGGED_OUT };
      if (!answer.ok) {
        const words = clipsite.reason(answer.headers.get("Content-Type"), text);
        return { lost: answer.status >= 500, stale: answer.status === 409, words };
      }
      return { ok: true, text, address: answer.headers.get("HX-Replace-Url") };
    } catch {
      return { lost: true, words: AWAY };
    }
  };
  const parsed = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return $("#review", document.importNode(template.content, true));
  };

  // Drawing one

  const draw = (review, address) => {
    shown().replaceWith(review);
    htmx.process(review);
    if (address) history.replaceState(history.state, "", address);
    begin();
  };
  const begin = () => {
    const review = shown();
    heldUntil(review);
    review.focus({ preventScroll: true });
    const picture = $(".stage img", review);
    hold(Boolean(picture) && !picture.complete);
    if (clipsite.keys.held) picture.decode().catch(() => {}).finally(() => { if (shown() === review) hold(false); });
    lookAhead();
  };

  // The images that follow are there before anybody asks for them. Each that comes makes all be held longer: leaving
  // the page lets go of what it holds until then.

  let ahead = [];
  let until = "";
  const heldUntil = (review) => {
    if (review?.dataset.until > until) until = review.dataset.until;
    if (until && shown().dataset.until) shown().dataset.until = until;
  };
  const answered = new Set();
  const fetched = (image, address) => {
    const entry = { image, address, review: null };
    entry.done = ask(address).then(({ ok, text }) => {
      if (ok) heldUntil(entry.review = parsed(text));
    });
    return entry;
  };
  const lookAhead = async () => {
    let from = shown();
    const start = from;
    for (let place = 0; place < AHEAD; place += 1) {
      const link = $("[data-step=next]", from);
      const image = idIn(link);
      // After the last one comes the first: one that was answered since is none to go on with.
      if (!image || answered.has(image)) { ahead.length = place; return; }
      if (ahead[place]?.image !== image) {
        ahead.length = place;
        ahead.push(fetched(image, link.href));
      }
      const entry = ahead[place];
      await entry.done;
      if (shown() !== start || ahead[place] !== entry) return;
      if (!entry.review) { ahead.length = place; return; }
      from = entry.review;
    }
  };
  const takeAhead = () => {
    const [next] = ahead;
    if (!next?.review || answered.has(next.image) || next.image !== idIn($("[data-step=next]", shown()))) return null;
    return ahead.shift();
  };

  // What goes out

  const waiting = [];
  let idle = Promise.resolve();
  let working = false;
  const send = (post) => {
    waiting.push(post);
    if (!working) idle = work();
  };
  const work = async () => {
    working = true;
    const failures = [];
    while (waiting.length) {
      const [post] = waiting;
      post.isSent = true;
      const answer = await ask(post.address, post.body);
      waiting.shift();
      if (answer.ok) { took(post, answer); continue; }
      hold(true);
      failures.push({ post, answer });
      answered.delete(post.image);
      // What can't arrive now is not tried again behind somebody's back; and an undo was meant for what failed.
      const dropped = waiting.filter((other) => answer.lost || other.kind !== "reviews");
      for (const other of dropped) {
        answered.delete(other.image);
        waiting.splice(waiting.indexOf(other), 1);
      }
      failures.at(-1).others = dropped.filter((other) => other.kind === "reviews").length;
    }
    working = false;
    if (failures.length) await goBack(failures);
  };

  const took = (post, answer) => {
    // The toast, and what is heard.
    htmx.swap("#toasts", answer.text, { swapStyle: "none" });
    const review = parsed(answer.text);
    if (!review) return;
    if (!post.isBehind) {
      if (post.kind !== "reviews") { answered.clear(); ahead = []; }
      draw(review, answer.address);
    } else if (!waiting.length) refresh(review);
  };
  // The image is there already; what the decision changed around it is brought up to date.
  const seen = (review) => $("[name=seen]", review)?.value;
  const refresh = (review) => {
    const here = shown();
    heldUntil(review);
    const isSame = review.dataset.image === here.dataset.image;
    if (isSame && seen(review) !== seen(here)) { draw(review); return; }
    $(".review-progress", here).replaceWith($(".review-progress", review));
    if (!isSame) return;
    for (const name of ["undo", "redo"]) {
      const [button, fresh] = [$(`[data-does=${name}]`, here), $(`[data-does=${name}]`, review)];
      if (button && fresh) button.disabled = fresh.disabled;
    }
    const [links, fresh] = [$("[data-steps]", here), $("[data-steps]", review)];
    if (links && !links.contains(document.activeElement)) links.replaceWith(fresh);
    lookAhead();
  };

  const goBack = async (failures) => {
    const [{ post, answer, others }] = failures;
    const nor = others ? ` Nor ${others === 1 ? "was the one" : `were the ${others}`} after it.` : "";
    for (const { post: { name }, answer: { stale, words } } of failures.slice().reverse()) {
      clipsite.toast(stale ? words : `${name} was not saved.${nor} ${words}`);
    }
    ahead = [];
    const address = new URL(post.at, location.href);
    if (post.image) address.searchParams.set("image", post.image);
    const now = answer.lost ? null : await ask(address);
    draw(now?.ok ? parsed(now.text) : post.review, address);
    hold(true);
    setTimeout(() => hold(false), PAUSE);
  };

  // What people do: every form of the page, and the links from image to image.

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-review]") || !shown()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (clipsite.keys.held) return;
    const { submitter } = event;
    const address = submitter?.hasAttribute("formaction") ? submitter.formAction : form.action;
    const body = new URLSearchParams(new FormData(form, submitter));
    const kind = new URL(address).pathname.match(/(\w+)\/$/)[1];
    const review = shown();
    const post = { address, body, kind, review, at: location.href, name: review.dataset.name, image: review.dataset.image };
    const next = kind === "reviews" ? (answered.add(post.image), takeAhead()) : null;
    post.isBehind = Boolean(next);
    send(post);
    if (!next) { hold(true); return; }
    draw(next.review, next.address);
    for (const [name, disabled] of [["undo", false], ["redo", true]]) {
      const button = $(`[data-does=${name}]`, next.review);
      if (button) button.disabled = disabled;
    }
  }, true);

  const step = async (link) => {
    const next = link.dataset.step === "next" && takeAhead();
    if (next) { draw(next.review, next.address); return; }
    hold(true);
    // The one before is perhaps only being decided about.
    await idle;
    const answer = await ask(link.href);
    if (answer.ok) { ahead = []; draw(parsed(answer.text), link.href); return; }
    hold(false);
    clipsite.toast(answer.words);
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-step]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (!clipsite.keys.held) step(link);
  });

  // Somebody leaves: what waits still goes out. The order matters to an undo alone, which takes the last one along.
  addEventListener("pagehide", () => {
    const rest = waiting.filter((post) => !post.isSent);
    const last = rest.at(-1)?.kind;
    if (last === "undo" && rest.length > 1) rest.splice(-2);
    if (last === "redo") rest.pop();
    for (const post of rest) ask(post.address, post.body);
    waiting.length = 0;
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    if (!shown() || !["review", "main"].includes(event.target.id)) return;
    ahead = [];
    begin();
  });
  if (shown()) begin();
})();
