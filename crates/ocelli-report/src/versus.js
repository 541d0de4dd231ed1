// The comparison of two runs.

const { first, second, comparison } = data;
const all = comparison.first.total;

document.getElementById("top").append(
  element("h1", {}, `${first} and ${second}`),
  element("p", { class: "quiet" }, `${counted(all, "image")} that both were measured on`));

const p = comparison.p_value;
const probability = p < 0.0001 ? "below 0.0001" : fixed(p);
const better = comparison.second.count === comparison.first.count ? null : comparison.second.count > comparison.first.count ? second : first;
section("difference", "Difference",
  element("p", {}, better === null ? "Both are right about equally many images." : p < 0.05
    ? `${better} is better: a difference as large would be seen with probability ${probability} if both were equally good (McNemar's exact test).`
    : `No difference is shown: one as large, or larger, would be seen with probability ${probability} even if both were equally good (McNemar's exact test).`),
  element("div", { class: "columns" },
    table("Images by who is right", [
      { name: "", value: (row) => row[0] },
      { name: `${second} right`, value: (row) => count(row[1]) },
      { name: `${second} wrong`, value: (row) => count(row[2]) },
    ], [
      [`${first} right`, comparison.both_right, comparison.right_to_wrong.length],
      [`${first} wrong`, comparison.wrong_to_right.length, comparison.both_wrong],
    ]),
    table("Figures of all images of each", [
      { name: "Figure", value: (row) => row[0] },
      { name: first, value: (row) => fixed(row[1]) },
      { name: second, value: (row) => fixed(row[2]) },
      { name: "Difference", value: (row) => (row[2] - row[1] >= 0 ? "+" : "−") + fixed(Math.abs(row[2] - row[1])) },
    ], data.figures)),
  comparison.only_first || comparison.only_second ? note(`${counted(comparison.only_first, "image")} only in ${first}, ${count(comparison.only_second)} only in ${second}: they are not compared.`) : "");

function flips(id, title, list, pictures) {
  const shown = list.slice(0, pictures.length);
  section(id, title, note(`${counted(list.length, "image")}${shown.length < list.length ? `; the first ${shown.length} are shown` : ""}, the surest first.`),
    shown.length ? element("ul", { class: "gallery" }, shown.map((flip, place) => element("li", {}, element("figure", {},
      element("div", { class: "photo" }, pictures[place] ? element("img", { src: pictures[place], alt: `${flip.id}, labelled ${flip.truth}` }) : element("span", { class: "absent" }, "not at hand")),
      element("figcaption", {}, `is ${brief(flip.truth || "nothing")}`, element("br"), `${brief(first)}: ${brief(flip.first || "nothing")}`, element("br"), `${brief(second)}: ${brief(flip.second || "nothing")} (${fixed(flip.probability, 3)})`, element("span", { class: "name" }, visible(flip.id, 300))))))) : note("None."));
}
flips("lost", "Right, then wrong", comparison.right_to_wrong, data.pictures[0]);
flips("won", "Wrong, then right", comparison.wrong_to_right, data.pictures[1]);

if (data.differences.length) section("settings", "Settings that differ", table("Settings that are not the same in both", [
  { name: "Setting", value: (row) => row[0] },
  { name: first, value: (row) => row[1] },
  { name: second, value: (row) => row[2] },
], data.differences, { words: true }));
