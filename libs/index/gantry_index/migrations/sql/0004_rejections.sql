-- What rejection notes (Key Object Selections) reject, known before or after the instances themselves.
CREATE TABLE rejection (
    partition      text COLLATE "C" NOT NULL,
    study_uid      text COLLATE "C" NOT NULL,
    sop_uid        text COLLATE "C" NOT NULL,
    note_study_uid text COLLATE "C" NOT NULL,
    note_sop_uid   text COLLATE "C" NOT NULL,
    reason         text NOT NULL,               -- code value of the note's title
    PRIMARY KEY (partition, study_uid, sop_uid, note_study_uid, note_sop_uid)
);

-- Rejected instances that are there, as long as a note is that rejects them; notes are among them.
CREATE VIEW rejected_instance AS
SELECT DISTINCT i.study_pk, i.series_pk, i.sop_uid
FROM rejection r
JOIN study n ON n.partition = r.partition AND n.study_uid = r.note_study_uid
JOIN instance k ON k.study_pk = n.id AND k.sop_uid = r.note_sop_uid
JOIN study s ON s.partition = r.partition AND s.study_uid = r.study_uid
JOIN instance i ON i.study_pk = s.id AND i.sop_uid = r.sop_uid;
