// Elements of the page, made in one line.

export const make = (tag, given = {}, ...children) => {
  const { data, ...properties } = given, element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, data);
  element.append(...children.filter((child) => child !== null));
  return element;
};

export const parts = (root) => Object.fromEntries([...root.querySelectorAll("[data-is]")].map((each) => [each.dataset.is, each]));

// What belongs to some tools alone is shown with them.
export function shownFor(root, tool) {
  for (const each of root.querySelectorAll("[data-for]")) each.hidden = !each.dataset.for.split(" ").includes(tool);
}

// One of several buttons in a row is chosen, by a click or the arrow keys, and only that one is reached by the tab key.
export function choices(group, take) {
  const all = [...group.querySelectorAll("[role=radio]")];
  for (const button of all) button.addEventListener("click", () => take(button.value));
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    take(next.value);
  });
  return (chosen) => {
    for (const button of all) {
      button.setAttribute("aria-checked", button.value === chosen);
      button.tabIndex = button.value === chosen ? 0 : -1;
    }
  };
}
