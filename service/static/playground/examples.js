// What is one click away.

export const SENSES = [
  {
    name: "배", lang: "ko", word: "배",
    text: `아침부터 배가 고팠다. # belly
점심을 굶어서 배가 고프다. # belly
아이는 배가 고파서 울었다. # belly
갑자기 배가 아파서 병원에 갔다. # belly
어제부터 배가 아프다. # belly
항구에 배가 들어왔다. # boat
부산에서 배가 출발했다. # boat
바다에서 배가 침몰했다. # boat
섬으로 가는 배가 떠났다. # boat
태풍으로 배가 뒤집혔다. # boat`,
  },
  {
    name: "눈", lang: "ko", word: "눈",
    text: `어제 눈이 내렸다. # snow
겨울에는 눈이 많이 내린다. # snow
밤새 눈이 많이 왔다. # snow
산에는 눈이 쌓여 있다. # snow
아침에 흰 눈이 왔다. # snow
그는 눈이 멀었다. # eye
그녀는 눈이 크다. # eye
아이는 눈이 나빠 안경을 썼다. # eye
나는 눈이 아파서 병원에 갔다. # eye
할머니는 눈이 어둡다. # eye`,
  },
  {
    name: "bank", lang: "en", word: "bank",
    text: `She borrowed money from the bank. # money
He put his savings in the bank. # money
The bank raised its interest rates. # money
The bank lent the company money. # money
The central bank cut its interest rate. # money
They walked along the bank of the river. # river
Trees grew on the bank of the stream. # river
The town lies on the left bank of the Rhine. # river
The village stands on the north bank of the river. # river
A path follows the bank of the canal. # river`,
  },
  {
    name: "spring", lang: "en", word: "spring",
    text: `It was built in the spring of 1912. # season
He died in the spring of 1945. # season
The birds return in early spring. # season
The plant flowers in late spring. # season
They married in the spring of 1930. # season
The steel spring pushes the lever. # coil
A metal spring holds the valve closed. # coil
The spring is attached to a mass. # coil
The spring stores potential energy. # coil
The spring pulls the lever back. # coil`,
  },
];

export const CLOZE = [
  { name: "얼굴에 ____", lang: "ko", text: "얼굴에 ____ 가득해서 모두가 기뻐했다.", candidates: "웃음이, 눈물이, 기차가" },
  { name: "항구에 ____", lang: "ko", text: "항구에 ____ 들어왔다.", candidates: "배가, 눈이, 사과가" },
  { name: "to the ____", lang: "en", text: "She opened an account at the ____ in the city.", candidates: "bank, river, spring" },
  { name: "They ____", lang: "en", text: "They ____ going to school every day.", candidates: "were, was, is" },
];

export const NATURALNESS = [
  { name: "word order", lang: "en", text: "The children were playing in the garden.\nThe children was playing the in garden." },
  { name: "조사", lang: "ko", text: "나는 어제 친구와 함께 학교에 갔다.\n나를 어제 친구가 함께 학교을 갔다." },
];
