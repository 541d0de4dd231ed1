// The comparison of two runs.

const { first, second, comparison } = data;
const all = comparison.first.total;

document.getElementById("top").append(
  element("h1", {}, `${first} and ${second}`),
  element("p", { class: "quiet" }, `${counted(all, "image")} that both predicted`));

const p = comparison.p_value;
const probability = p < 0.0001 ? "below 0.0001" : fixed(p);
const better = comparison.second.count === comparison.first.count ? null : comparison.second.count > comparison.first.count ? second : first;
section("difference", "Difference",
  element("p", {}, better === null ? "Both predict the same number of images correctly." : p < 0.05
    ? `${better} is better: if both were equally good, a difference at least as large would be seen with probability ${probability} (McNemar's exact test).`
    : `No significant difference: even if both were equally good, one at least as large would be seen with probability ${probability} (McNemar's exact test).`),
  comparison.corrected.some((one) => one) ? element("p", {}, "Corrected for choosing the best epoch by these images, accuracy is "
    + [first, second].map((name, place) => { const one = comparison.corrected[place]; return `${name}: ${one ? `${fixed(one.value)} (95 % CI ${fixed(one.interval[0])}–${fixed(one.interval[1])})` : "as it was, nothing was chosen"}`; }).join("; ") + ".") : "",
  element("div", { class: "columns" },
    table("Images by correctness", [
      { name: "", value: (row) => row[0] },
      { name: `${second} correct`, value: (row) => count(row[1]) },
      { name: `${second} wrong`, value: (row) => count(row[2]) },
    ], [
      [`${first} correct`, comparison.both_right, comparison.right_to_wrong.length],
      [`${first} wrong`, comparison.wrong_to_right.length, comparison.both_wrong],
    ]),
    table("Metrics of all images of each", [
      { name: "Metric", value: (row) => row[0] },
      { name: first, value: (row) => fixed(row[1]) },
      { name: second, value: (row) => fixed(row[2]) },
      { name: "Difference", value: (row) => (row[2] - row[1] >= 0 ? "+" : "−") + fixed(Math.abs(row[2] - row[1])) },
    ], data.figures)),
  comparison.only_first || comparison.only_second ? note(`${counted(comparison.only_first, "image")} only in ${first}, ${count(comparison.only_second)} only in ${second}: not compared.`) : "");

function flips(id, title, list, pictures) {
  const shown = list.slice(0, pictures.length);
  section(id, title, note(`${counted(list.length, "image")}${shown.length < list.length ? `; the first ${shown.length} are shown` : ""}, the most confident first.`),
    shown.length ? element("ul", { class: "gallery" }, shown.map((flip, place) => element("li", {}, element("figure", {},
      element("div", { class: "photo" }, pictures[place] ? element("img", { src: pictures[place], alt: `${flip.id}, labelled ${flip.truth}` }) : element("span", { class: "absent" }, "not found")),
      element("figcaption", {}, `actual ${brief(flip.truth || "none")}`, element("br"), `${brief(first)}: ${brief(flip.first || "none")}`, element("br"), `${brief(second)}: ${brief(flip.second || "none")} (${fixed(flip.probability, 3)})`, element("span", { class: "name" }, visible(flip.id, 300))))))) : note("None."));
}
flips("lost", "Correct, then wrong", comparison.right_to_wrong, data.pictures[0]);
flips("won", "Wrong, then correct", comparison.wrong_to_right, data.pictures[1]);

if (data.differences.length) section("settings", "Settings that differ", table("Settings that differ between the runs", [
  { name: "Setting", value: (row) => row[0] },
  { name: first, value: (row) => row[1] },
  { name: second, value: (row) => row[2] },
], data.differences, { words: true }));
