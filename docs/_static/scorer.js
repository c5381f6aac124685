// How the search ranks hits. A section whose title holds the whole question comes before pages that hold its words.
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 15, 1: 5, 2: -5},
  objPrioDefault: 0,
  title: 100,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
