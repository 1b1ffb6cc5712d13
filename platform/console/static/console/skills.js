// Checking as one types: data-check names where a form is sent to be told what is wrong with it.
for (const form of document.querySelectorAll("form[data-check]")) {
  const status = form.querySelector("[data-check-status]");
  let timer = 0;
  let latest = 0;

  const show = (faults) => {
    for (const list of form.querySelectorAll(".sg-faults")) {
      const own = faults.filter((fault) => `faults-${fault.field}` === list.id);
      list.replaceChildren(
        ...own.map((fault) => Object.assign(document.createElement("li"), { textContent: fault.message })),
      );
      const field = form.elements[list.id.replace("faults-", "")];
      if (field && own.length > 0) field.setAttribute("aria-invalid", "true");
      else if (field) field.removeAttribute("aria-invalid");
    }
    const count = faults.length;
    status.textContent = count === 0 ? "Nothing is wrong with it." : `${count} ${count === 1 ? "fault" : "faults"}.`;
  };

  const check = async () => {
    const mine = ++latest;
    try {
      const answer = await fetch(form.dataset.check, { method: "POST", body: new FormData(form) });
      if (!answer.ok) throw new Error(answer.status);
      const { faults } = await answer.json();
      if (mine === latest) show(faults);
    } catch {
      if (mine === latest) status.textContent = "It could not be checked just now; saving checks it too.";
    }
  };

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, 400);
  });
}

// Watching: data-poll names where the element's content comes from, until it says that it is over.
for (const watched of document.querySelectorAll("[data-poll]")) {
  const look = async () => {
    if (watched.querySelector("[data-over]")) return;
    try {
      const answer = await fetch(watched.dataset.poll);
      if (answer.redirected || answer.status === 403 || answer.status === 404) return;
      if (answer.ok) watched.innerHTML = await answer.text(); // our own template, escaped there
    } catch {
      // The next look may succeed.
    }
    setTimeout(look, document.hidden ? 5000 : 1000);
  };
  setTimeout(look, 700);
}
