// How the search ranks hits: as Sphinx does, but a title that holds the whole question comes first.
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 15, 1: 5, 2: -5},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([docname, title, anchor, descr, score]) => {
    const question = new URLSearchParams(window.location.search).get("q") ?? "";
    return title.toLowerCase().includes(question.toLowerCase().trim()) ? score + 100 : score;
  },
};
